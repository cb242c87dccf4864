//! What comes of invitations, whatever happens meanwhile, and what a stranger may do with one (XEP-0077, XEP-0379, XEP-0401).

use std::sync::atomic::AtomicUsize;

use unisono_core::early::{Origin, Standing};
use unisono_core::invitations::{INVITED_BY, Invitation, Invitations};
use unisono_core::storage::{BoxFuture, Documents};
use unisono_core::workers::{Credentials, NoCredentials, Workers};

use super::contacts::subscription;
use super::*;

impl World {
    /// An invitation of bob's to an account, or to a contact alone.
    async fn invitation(&self, token: &str, domain: Option<&str>) -> Invitation {
        let (token, domain) = (token.to_owned(), domain.map(|domain| domain.parse().unwrap()));
        let (inviter, maker) = (Some(jid("bob")), Some(jid("bob")));
        let (created_at, expires_at) = (1, i64::MAX);
        let invitation = Invitation { token, domain, account: None, inviter, maker, created_at, expires_at };
        self.store.invite(&invitation).await.unwrap();
        invitation
    }

    /// Fills the form in, on a new stream.
    async fn register(
        &self,
        name: &str,
        network: &str,
        invitation: Option<&Invitation>,
    ) -> Result<(), String> {
        let form = format!(
            "<iq type='set' id='r'><query xmlns='jabber:iq:register'><username>{name}</username>\
             <password>secret</password></query></iq>"
        );
        let form = Element::parse(&form, &CLIENT_SCOPE, &Limits::default()).unwrap();
        let origin = Origin { network: network.parse().unwrap(), site: None };
        let standing = Standing { invitation: invitation.cloned().map(Arc::new), has_registered: false };
        let domain = BareJid::domain_jid("example.org").unwrap();
        let (answer, _) = self.hub.clone().answer_early(form, domain, origin, standing).await;
        condition(&answer).map_or(Ok(()), Err)
    }
}

/// The condition of an error.
fn condition(answer: &Element) -> Option<String> {
    let error = answer.child("error", "jabber:client")?;
    error.first_child().map(|condition| condition.name().to_owned())
}

/// Hashes nothing, and counts how often that was asked for.
#[derive(Default)]
struct Clerk(AtomicUsize);

impl Workers for Clerk {
    fn carry_out(&self, work: BoxFuture<'static, ()>) {
        tokio::spawn(work);
    }

    fn credentials(&self, _: String) -> BoxFuture<'static, Result<Credentials, NoCredentials>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

const REQUEST: &str =
    "<presence to='bob@example.org' type='subscribe'><preauth xmlns='urn:xmpp:pars:0' token='t'/></presence>";

#[tokio::test]
async fn an_invited_account_becomes_a_contact_though_the_server_dies_first() {
    let world = World::with(&["bob"]).await;
    world.invitation("t", Some("example.org")).await;
    world.store.create_invited("t", &jid("alice"), &[], 2).await.unwrap();
    let mut world = world.crash().await;
    for _ in 0..2 {
        let alice = world.bind("alice", "phone").await;
        assert_eq!(subscription(&alice, "bob").await.as_deref(), Some("both"));
        let bob = world.bind("bob", "desk").await;
        assert_eq!(subscription(&bob, "alice").await.as_deref(), Some("both"));
        let known = world.store.document(alice.session.cell.id, INVITED_BY, "").await.unwrap();
        assert_eq!(known, None, "it would come back after they part");
        world = world.crash().await;
    }
}

#[tokio::test]
async fn an_invited_account_whose_inviter_has_left_is_an_account_like_others() {
    let world = World::with(&["bob"]).await;
    world.invitation("t", Some("example.org")).await;
    let account = world.store.create_invited("t", &jid("alice"), &[], 2).await.unwrap();
    world.store.delete(&jid("bob")).await.unwrap();
    let alice = world.bind("alice", "phone").await;
    assert_eq!(subscription(&alice, "bob").await, None);
    assert_eq!(world.store.document(account, INVITED_BY, "").await.unwrap(), None);
}

#[tokio::test]
async fn an_invitation_to_a_contact_is_used_up_with_what_comes_of_it() {
    let world = World::with(&["alice", "bob", "carol"]).await;
    world.invitation("t", None).await;
    let alice = world.online("alice", "phone").await;
    let carol = world.online("carol", "phone").await;
    world.store.hold();
    alice.send(REQUEST).await;
    // Whoever comes second finds none, though nothing is durable yet.
    carol.send(REQUEST).await;
    assert!(!carol.session.cell.lock().is_seen_by(&jid("bob")));
    // Both are lost with a crash, or neither.
    let world = world.crash().await;
    let alice = world.online("alice", "phone").await;
    assert_eq!(subscription(&alice, "bob").await, None);
    alice.send(REQUEST).await;
    assert_eq!(subscription(&alice, "bob").await.as_deref(), Some("both"));
    let world = world.crash().await;
    assert!(!world.store.redeem("t").await.unwrap());
}

#[tokio::test]
async fn a_stranger_with_an_invitation_asks_for_a_few_names_and_hashes_for_none() {
    let world = World::with(&["bob"]).await;
    let clerk = Arc::new(Clerk::default());
    world.hub.employ(clerk.clone());
    let invitation = world.invitation("t", Some("example.org")).await;
    for n in 0..20 {
        let network = format!("192.0.2.{n}");
        assert_eq!(world.register("bob", &network, Some(&invitation)).await, Err("conflict".to_owned()));
    }
    let refused = Err("resource-constraint".to_owned());
    assert_eq!(world.register("bob", "192.0.2.99", Some(&invitation)).await, refused);
    // So few from one network, whatever is shown.
    let others =
        [world.invitation("u", Some("example.org")).await, world.invitation("v", Some("example.org")).await];
    let mut answers = Vec::new();
    for n in 0..24 {
        answers.push(world.register("bob", "198.51.100.1", Some(&others[n % 2])).await);
    }
    assert_eq!(answers.iter().filter(|answer| **answer == refused).count(), 4);
    assert_eq!(clerk.0.load(Ordering::Relaxed), 0);
    world.pass(Duration::from_secs(180));
    assert_eq!(world.register("alice", "198.51.100.1", Some(&others[0])).await, Ok(()));
    assert_eq!(clerk.0.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn names_that_are_taken_take_no_account_away() {
    let mut settings = Settings::default();
    settings.registration.is_open = true;
    let world = World::set(&["bob"], settings).await;
    world.hub.employ(Arc::new(Clerk::default()));
    for _ in 0..10 {
        assert_eq!(world.register("bob", "192.0.2.1", None).await, Err("conflict".to_owned()));
    }
    for name in ["one", "two", "three"] {
        assert_eq!(world.register(name, "192.0.2.1", None).await, Ok(()), "{name}");
    }
    assert_eq!(world.register("four", "192.0.2.1", None).await, Err("resource-constraint".to_owned()));
    assert_eq!(world.register("four", "192.0.2.2", None).await, Ok(()));
}

#[tokio::test]
async fn a_user_changes_the_password_a_few_times() {
    let world = World::with(&["bob"]).await;
    let clerk = Arc::new(Clerk::default());
    world.hub.employ(clerk.clone());
    let bob = world.online("bob", "desk").await;
    let change = "<iq type='set' id='p'><query xmlns='jabber:iq:register'><username>bob</username>\
         <password>another</password></query></iq>";
    let mut answers = Vec::new();
    for _ in 0..7 {
        bob.send(change).await;
        answers.extend(bob.take().await.iter().map(condition));
    }
    assert_eq!(answers.iter().filter(|answer| answer.is_none()).count(), 5, "{answers:?}");
    assert_eq!(answers.last(), Some(&Some("resource-constraint".to_owned())));
    assert_eq!(clerk.0.load(Ordering::Relaxed), 5);
}

/// XEP-0050 §2.4: who may not run a command is told so, and who asks for one that there is not is told that.
#[tokio::test]
async fn a_command_is_not_described_to_who_may_not_run_it() {
    let mut settings = Settings::default();
    settings.invitations.creators = vec![jid("bob")];
    let world = World::set(&["alice", "bob"], settings).await;
    for (name, node, want) in [
        ("bob", "urn:xmpp:invite#create-account", None),
        ("alice", "urn:xmpp:invite#create-account", Some("forbidden")),
        ("alice", "urn:xmpp:invite#invite", None),
        ("alice", "urn:xmpp:invite#nothing", Some("item-not-found")),
    ] {
        let device = world.online(name, "desk").await;
        let query = format!("<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/>");
        device.send(&format!("<iq type='get' id='d' to='example.org'>{query}</iq>")).await;
        let answers = device.take().await;
        let answer = answers.iter().find(|answer| answer.attr("id") == Some("d")).unwrap();
        assert_eq!(condition(answer).as_deref(), want, "{name} {node}");
    }
}
