//! One device with a connection: bytes in both directions, and the commands of the run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::cast::{DeviceNo, UserNo};
use super::content::{Content, Id};
use super::device::{Device, Output};
use super::history::{Event, Fact, Recorder, Way};
use super::keeping::{Change, ChangeNo};
use super::operation::{Presence, Trigger};
use super::world::{Link, World};
use crate::xml::{Document, Reader};

/// What a device is told to do.
#[derive(Debug)]
pub(super) enum Command {
    Write {
        id: Id,
        to: UserNo,
        content: Content,
    },
    Compose {
        to: UserNo,
    },
    Keep(ChangeNo, Change),
    /// Looks at all that the account keeps.
    LookAtAll,
    Ask,
    Look(bool),
    Show(Presence),
    Die,
    Leave,
    Return {
        afresh: bool,
    },
    /// As `Return`, if it has no connection.
    ComeBack,
    /// Its network is gone; it may not know, and nobody expects an answer of it.
    NetworkLost,
    /// Tells when nothing is on its way, or when there is no connection.
    Settle(oneshot::Sender<()>),
}

/// What kills the server when something happens to a device.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    armed: Mutex<Option<(DeviceNo, Trigger)>>,
}

impl Alarm {
    pub(super) fn set(&self, device: DeviceNo, trigger: Trigger) {
        *self.armed.lock().unwrap_or_else(PoisonError::into_inner) = Some((device, trigger));
    }

    /// Whether it was still waiting. It does not any more.
    pub(super) fn disarm(&self) -> bool {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).take().is_some()
    }

    pub(super) fn is_set(&self) -> bool {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Whether this is what it waits for. It waits no longer then.
    fn goes_off(&self, device: DeviceNo, fact: &Fact) -> bool {
        let mut armed = self.armed.lock().unwrap_or_else(PoisonError::into_inner);
        let happens = match fact {
            Fact::Acknowledged { .. } => Trigger::Acknowledged,
            Fact::Saw(sight) if sight.way != Way::Archive => Trigger::Seen,
            _ => return false,
        };
        let goes_off = *armed == Some((device, happens));
        if goes_off {
            *armed = None;
        }
        goes_off
    }
}

/// A connection.
struct Wire {
    reading: ReadHalf<Box<dyn Link>>,
    writing: WriteHalf<Box<dyn Link>>,
    reader: Reader,
    outgoing: Vec<u8>,
    needs_flush: bool,
}

type Dial = tokio::task::JoinHandle<anyhow::Result<Box<dyn Link>>>;

pub(super) struct Performer<W: World> {
    pub(super) number: DeviceNo,
    pub(super) device: Device,
    pub(super) world: Arc<W>,
    pub(super) recorder: Recorder,
    pub(super) alarm: Arc<Alarm>,
    /// How long the server may take to answer.
    pub(super) patience: Duration,
    pub(super) state: State,
}

/// What changes while it performs.
#[derive(Default)]
pub(super) struct State {
    wire: Option<Wire>,
    dial: Option<Dial>,
    is_lost: bool,
    waiters: Vec<oneshot::Sender<()>>,
    /// When something came last, or was asked for.
    progress: Option<Instant>,
}

/// What happens next.
enum Turn {
    Command(Option<Command>),
    Dialled(anyhow::Result<Box<dyn Link>>),
    Wrote(std::io::Result<usize>),
    Read(std::io::Result<usize>),
    Late,
}

impl<W: World> Performer<W> {
    /// Performs until nobody commands any more.
    pub(super) async fn perform(mut self, mut commands: mpsc::UnboundedReceiver<Command>) {
        let mut bytes = vec![0; 16 * 1024];
        loop {
            self.do_what_it_wants();
            let turn = self.turn(&mut commands, &mut bytes).await;
            if matches!(turn, Turn::Read(_) | Turn::Command(_) | Turn::Dialled(_)) {
                self.state.progress = Some(Instant::now());
            }
            match turn {
                Turn::Command(None) => return,
                Turn::Command(Some(command)) => self.command(command),
                Turn::Dialled(Ok(link)) => self.connected(link),
                // Nobody is there. The device tries again when it is told to.
                Turn::Dialled(Err(_)) => {}
                Turn::Wrote(Ok(length)) => self.wrote(length),
                // What the server said before it hung up is still to be read.
                Turn::Wrote(Err(_)) => self.cannot_write(),
                Turn::Read(Ok(length)) if length > 0 => self.read(bytes.get(..length).unwrap_or_default()),
                Turn::Read(_) => {
                    self.state.wire = None;
                    self.device.disconnected();
                }
                Turn::Late => self.late(),
            }
        }
    }

    async fn turn(&mut self, commands: &mut mpsc::UnboundedReceiver<Command>, bytes: &mut [u8]) -> Turn {
        let State { wire, dial, is_lost, progress, .. } = &mut self.state;
        let is_waiting = !*is_lost && (dial.is_some() || self.device.is_waiting());
        let left = progress.map_or(self.patience, |since| self.patience.saturating_sub(since.elapsed()));
        let Some(Wire { reading, writing, outgoing, needs_flush, .. }) = wire else {
            return tokio::select! {
                biased;
                command = commands.recv() => Turn::Command(command),
                link = dialled(dial), if dial.is_some() => Turn::Dialled(link),
                () = tokio::time::sleep(left), if is_waiting => Turn::Late,
            };
        };
        tokio::select! {
            biased;
            command = commands.recv() => Turn::Command(command),
            length = push(writing, outgoing), if *needs_flush || !outgoing.is_empty() => Turn::Wrote(length),
            length = reading.read(bytes) => Turn::Read(length),
            () = tokio::time::sleep(left), if is_waiting => Turn::Late,
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Write { id, to, content } => self.device.write(id, to, content),
            Command::Compose { to } => self.device.compose(to),
            Command::Keep(number, change) => self.device.keep(number, change),
            Command::LookAtAll => self.device.look_at_all(),
            Command::Ask => self.device.ask(),
            Command::Look(looks) => self.device.look(looks),
            Command::Show(presence) => self.device.show(presence),
            Command::Die => self.device.die(),
            Command::Leave => self.device.leave(),
            Command::NetworkLost => self.state.is_lost = true,
            Command::Return { afresh } => self.dial(afresh),
            Command::ComeBack => {
                if self.state.is_lost || !(self.device.is_connected() || self.state.dial.is_some()) {
                    self.dial(false);
                }
            }
            Command::Settle(done) => {
                self.device.settle();
                self.state.waiters.push(done);
            }
        }
    }

    fn dial(&mut self, afresh: bool) {
        self.device.drop_connection();
        // What it learns from giving the old connection up belongs before what the new one brings.
        self.do_what_it_wants();
        if afresh {
            self.device.start_afresh();
        }
        self.state.is_lost = false;
        let (world, number) = (self.world.clone(), self.number);
        if let Some(old) = self.state.dial.replace(tokio::spawn(async move { world.connect(number).await })) {
            old.abort();
        }
    }

    fn connected(&mut self, link: Box<dyn Link>) {
        let (reading, writing) = tokio::io::split(link);
        let reader = Reader::new(Document::Stream);
        self.state.wire = Some(Wire { reading, writing, reader, outgoing: Vec::new(), needs_flush: false });
        self.device.connected();
    }

    fn wrote(&mut self, length: usize) {
        if let Some(wire) = &mut self.state.wire {
            wire.outgoing.drain(..length);
            wire.needs_flush = length > 0;
        }
    }

    fn cannot_write(&mut self) {
        if let Some(wire) = &mut self.state.wire {
            wire.outgoing.clear();
            wire.needs_flush = false;
        }
    }

    fn read(&mut self, bytes: &[u8]) {
        if let Some(wire) = &mut self.state.wire {
            wire.reader.feed(bytes);
        }
        // The device may hang up or begin a new document at any event.
        while let Some(wire) = &mut self.state.wire {
            match wire.reader.next() {
                Ok(Some(event)) => {
                    self.device.read(event);
                    self.do_what_it_wants();
                }
                Ok(None) => return,
                Err(why) => {
                    self.learned(Fact::Odd { what: format!("the server sent bad XML: {why}") });
                    self.device.drop_connection();
                    self.do_what_it_wants();
                }
            }
        }
    }

    fn late(&mut self) {
        let state = self.device.state();
        self.learned(Fact::Stuck { what: format!("nothing came for {:?}: {state}", self.patience) });
        if let Some(dial) = self.state.dial.take() {
            dial.abort();
        }
        self.device.drop_connection();
    }

    fn do_what_it_wants(&mut self) {
        let mut returns = false;
        while let Some(output) = self.device.poll() {
            match output {
                Output::Send(xml) => {
                    if let Some(wire) = &mut self.state.wire {
                        wire.outgoing.extend_from_slice(xml.as_bytes());
                    }
                }
                Output::Reopen => {
                    if let Some(wire) = &mut self.state.wire {
                        let mut reader = Reader::new(Document::Stream);
                        reader.feed(wire.reader.pending());
                        wire.reader = reader;
                    }
                }
                Output::HangUp => {
                    if let Some(wire) = self.state.wire.take().filter(|wire| !wire.outgoing.is_empty()) {
                        tokio::spawn(finish(wire));
                    }
                }
                Output::Return => returns = !self.state.is_lost,
                Output::Learned(fact) => self.learned(fact),
            }
        }
        if returns {
            return self.dial(false);
        }
        if self.device.is_settled() && self.state.dial.is_none() {
            for waiter in self.state.waiters.drain(..) {
                // Who waited may have given up.
                let _ = waiter.send(());
            }
        }
    }

    fn learned(&mut self, fact: Fact) {
        let goes_off = self.alarm.goes_off(self.number, &fact);
        self.recorder.add(Event::Device(self.number, fact));
        if goes_off {
            self.recorder.add(Event::ServerKilled);
            self.world.kill();
        }
    }
}

async fn dialled(dial: &mut Option<Dial>) -> anyhow::Result<Box<dyn Link>> {
    let Some(handle) = dial.as_mut() else { return std::future::pending().await };
    let result = handle.await;
    *dial = None;
    result?
}

/// Writes some of the bytes, or flushes when there are none.
async fn push(writing: &mut WriteHalf<Box<dyn Link>>, bytes: &[u8]) -> std::io::Result<usize> {
    if bytes.is_empty() { writing.flush().await.map(|()| 0) } else { writing.write(bytes).await }
}

/// What a device said before it hung up still goes out, if it can.
async fn finish(mut wire: Wire) {
    let write = async {
        wire.writing.write_all(&wire.outgoing).await?;
        wire.writing.flush().await
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), write).await;
}
