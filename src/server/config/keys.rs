//! Every key of the configuration: its name, type, default and documentation. This is the only place
//! where a key is written; structs, parser and `unisono init` follow it (see `schema.rs`).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::data_file::DataFile;
use super::domain::Domain;
use super::read::Reader;
use super::sample;
use super::schema::{configuration, section};
use super::setting::{Setting, Text as _, list_toml, words};
use super::store_url::StoreUrl;
use super::texts::{AccountJid, ContactUri, Host, PageUri, Secret};
use super::units::Size;

configuration! {
    /// Everything that can be configured. [`Config::default`] is what an empty file gives.
    Config {
        server: Server,
        store: Store,
        listen: Listen,
        tls: Tls,
        login: Login,
        registration: Registration,
        invitations: Invitations,
        limits: Limits,
        clients: Clients,
        archive: Archive,
        contacts: Contacts,
        calls: Calls,
        pubsub: PubSub,
        components: Components,
        log: Log,
        metrics: Metrics,
        admin: Admin,
    }
}

section! {
    /// Who this server is, and where it keeps what it knows.
    Server {
        /// The domains of this server: the part behind the @ of its users' addresses.
        domains: Vec<Domain> = vec![localhost()];
        /// The directory of the database, certificates made by the server and its control socket.
        /// Created at the first start. Relative paths start at the directory of this file.
        data_dir: PathBuf = PathBuf::from("unisono-data");
    }
}

section! {
    /// The database.
    Store {
        /// "sqlite:FILE" (a relative file is in data_dir) or "postgres://USER:PASSWORD@HOST/DATABASE".
        /// A file that holds a password should be readable for the server alone.
        /// A HOST that is another machine is spoken to with TLS alone, and has to show a certificate for HOST by a
        /// public authority of the list that this program is built with; the list of this machine does not count.
        /// "?sslrootcert=/PATH/ca.pem" at the end of the URL trusts an authority of your own too. With
        /// "?sslmode=require" any certificate will do. "disable", "allow" and "prefer" are for this machine alone.
        url: StoreUrl = StoreUrl::Sqlite("unisono.db".into());
    }
}

section! {
    /// Where clients connect. "[::]" means all addresses of this machine, IPv4 included; where it has
    /// no IPv6, "0.0.0.0" takes its place. Port 0 takes any free port.
    Listen {
        /// Connections that begin in the clear and must change to TLS (STARTTLS).
        starttls: Vec<SocketAddr> = vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 5222))];
        /// Connections with TLS from the first byte (XEP-0368).
        direct_tls: Vec<SocketAddr> = vec![SocketAddr::from((Ipv6Addr::UNSPECIFIED, 5223))];
    }
}

section! {
    /// Certificates. Without any, the server makes one itself in data_dir/tls: enough to try it, but
    /// clients will ask whether to trust it. Changed files are read again without a restart.
    Tls {
        /// One [[tls.certificate]] for each certificate:
        certificate: Vec<Certificate> = Vec::new();
    }
}

section! {
    /// A certificate and its key, as PEM files.
    Certificate {
        /// The domains that it is for. Left out, it is for all domains of this server.
        domains: Vec<Domain> = Vec::new();
        /// The certificate, followed by its intermediate certificates.
        cert: PathBuf = PathBuf::new();
        /// Its private key.
        key: PathBuf = PathBuf::new();
    }
}

section! {
    /// How clients prove who they are.
    Login {
        /// What they may use. Each SCRAM comes with its variant that is bound to the TLS connection (-PLUS).
        /// Without PLAIN, which shows the password to the server, some old clients cannot log in.
        mechanisms: Vec<LoginMechanism> = LoginMechanism::ALL.into();
    }
}

section! {
    /// Accounts that are made and changed with a client (XEP-0077).
    Registration {
        /// Who may make an account with a client: "invited", which is who has a link of `unisono invite` or of a user
        /// who may give such links, or "everybody", which brings people who send spam.
        open_to: OpenTo = OpenTo::Invited;
        /// Accounts that everybody may make in an hour, from one address. 0: none.
        accounts_per_ip_per_hour: u32 = 3;
        /// What users may do with their own accounts.
        users_may: Vec<SelfService> = SelfService::ALL.into();
    }
}

section! {
    /// Links by which people become contacts, or make an account (XEP-0401).
    Invitations {
        /// To what users may invite: "contacts", which is to an address book, "accounts", which is to an account here
        /// as well, or "nothing".
        users_to: UsersTo = UsersTo::Contacts;
        /// The addresses of those who may have links to new accounts made with their clients, also to one of a
        /// certain name; a domain stands for all of its users. `unisono invite` makes such links, too.
        creators: Vec<AccountJid> = Vec::new();
        /// How long a link can be used, once.
        expire_after: Duration = Duration::from_secs(7 * 24 * 3600);
        /// A page for people without a client, which shows what stands behind "#" in its address as a link:
        /// "https://example.org/invite", or "off". It can be a file that a web server hands out.
        landing_page: Option<PageUri> = None;
    }
}

section! {
    /// What one client, or all of them together, may use.
    Limits {
        /// The largest stanza before a resource is bound. At least "10KB" (RFC 6120). Before the login, when
        /// there are no stanzas, nothing may have more than 3 KiB.
        stanza_bytes_before_auth: Size = Size::bytes(10_000);
        /// The largest stanza after the login. At least "10KB".
        stanza_bytes: Size = Size::kib(256);
        /// Connections from one address that have not logged in yet. As many again may have logged in and have no
        /// resource yet. 0: no limit. Here and below, all of an IPv6 network of 64 bits is one address, and one of 48
        /// bits is at most eight of them.
        connections_per_ip_before_auth: u32 = 64;
        /// All connections that have not logged in yet.
        connections_before_auth: u32 = 10_000;
        /// Connections that one address may begin in a minute. 0: no limit.
        connections_per_ip_per_minute: u32 = 3000;
        /// The time from the connection to a finished login.
        auth_timeout: Duration = Duration::from_secs(10);
        /// Logins that may fail on one connection: from 3 to 6 (RFC 6120).
        auth_attempts: u32 = 4;
        /// How long a login waits at most where many have failed before: from the same address, or to the same
        /// account. Never more than a third of auth_timeout. "0s": it does not wait.
        auth_delay_max: Duration = Duration::from_secs(3);
        /// The time from the login until a client has its resource, or its old session.
        bind_timeout: Duration = Duration::from_secs(30);
        /// The sessions that an account can have at a time, connected or waiting to be resumed.
        sessions_per_account: u32 = 64;
        /// What one client may send in a second, on average over ten seconds. What it sends faster is read later
        /// and not refused. 0: no limit.
        stanzas_per_second: u32 = 500;
        /// The same in bytes. 0: no limit.
        bytes_per_second: Size = Size::kib(1024);
        /// A client that is silent for so long is asked for a sign of life; without one its connection
        /// ends at most two minutes later, and its session waits to be resumed.
        idle_timeout: Duration = Duration::from_secs(900);
        /// Stanzas of one client that are in work at the same time. With so many unfinished, the server
        /// stops reading from that client until one of them is recorded.
        unfinished_stanzas: u32 = 64;
        /// Copies of notifications that one who publishes may cause in a second (XEP-0060). What is published faster is
        /// stored, and of each node the last goes out a little later. 0: no limit.
        notifications_per_second: u32 = 2000;
        /// What the items of the nodes of one account may take (XEP-0060); those of the service for nodes, 16 times as
        /// much. 0: no limit.
        items_bytes: Size = Size::kib(256 * 1024);
        /// The devices that an account can have. With one more, the one seen longest ago is forgotten.
        devices_per_account: u32 = 64;
        /// How long a session without a connection can be resumed (XEP-0198).
        resume_timeout: Duration = Duration::from_secs(600);
        /// What may wait in memory for one device. A device further behind is disconnected; it loses
        /// nothing, as it gets the rest from its log when it comes back. At least stanza_bytes.
        outbox_bytes: Size = Size::kib(1024);
    }
}

section! {
    /// What clients are sent.
    Clients {
        /// What reaches a client while it says that nobody looks at it (XEP-0352): "important", which
        /// spares the battery of a phone, or "everything".
        when_inactive: WhenInactive = WhenInactive::Important;
    }
}

section! {
    /// The archive of messages (XEP-0313).
    Archive {
        /// What is kept for users who chose nothing: "always" all messages, "roster" those with
        /// people in the contact list, "never" none (messages still wait for devices to fetch them).
        policy: ArchivePolicy = ArchivePolicy::Always;
        /// After so many days a message is deleted. 0: never.
        retention_days: u32 = 0;
    }
}

section! {
    /// Whom to write to about this server (XEP-0157): addresses like "mailto:abuse@example.org" or
    /// "xmpp:admin@example.org", or a page. Everybody who can reach the server is shown them.
    Contacts {
        /// About spam and other abuse.
        abuse: Vec<ContactUri> = Vec::new();
        /// About the server itself.
        admin: Vec<ContactUri> = Vec::new();
        /// With an opinion.
        feedback: Vec<ContactUri> = Vec::new();
        /// About what it costs.
        sales: Vec<ContactUri> = Vec::new();
        /// About holes in it.
        security: Vec<ContactUri> = Vec::new();
        /// Where one learns how it is.
        status: Vec<ContactUri> = Vec::new();
        /// With a question.
        support: Vec<ContactUri> = Vec::new();
        /// Where a file tells what is wrong while this server cannot be reached (XEP-0455): on another machine.
        outages: Vec<PageUri> = Vec::new();
    }
}

section! {
    /// Servers that help devices to reach each other in a call (XEP-0215), such as coturn. They are programs
    /// of their own, and this server tells its users of them.
    Calls {
        /// One [[calls.relay]] for each way to reach one:
        relay: Vec<Relay> = Vec::new();
    }
}

section! {
    /// A server for calls.
    Relay {
        /// "stun" and "turn", or "stuns" and "turns" for those inside of TLS.
        kind: RelayKind = RelayKind::Turn;
        /// Its name or its IP address.
        host: Host = Host::default();
        /// Its port.
        port: u16 = 3478;
        /// "udp" or "tcp".
        transport: Transport = Transport::Udp;
        /// What a relay shares with this server to know its users by; coturn calls it static-auth-secret.
        /// Users are given passwords made of it, and never the secret itself. A file that holds one should
        /// be readable for the server alone.
        secret: Secret = Secret::default();
        /// How long such a password is good.
        password_for: Duration = Duration::from_secs(24 * 3600);
    }
}

section! {
    /// Nodes that belong to no account (XEP-0060): feeds of groups, programs and sites.
    PubSub {
        /// "on" has them at the address of each domain with "pubsub." before it, "off" nowhere. So that people of other
        /// servers can reach them, the names must be in DNS.
        service: Switch = Switch::On;
        /// Who may make nodes there: "users", who are those with an account on this server, "everybody", or "nobody".
        create_nodes: NodeMakers = NodeMakers::Users;
    }
}

section! {
    /// Programs that serve a domain of their own through this server (XEP-0114): gateways, bots, push services.
    Components {
        /// Loopback addresses where they connect, such as "127.0.0.1:5347": there is no TLS.
        listen: Vec<SocketAddr> = Vec::new();
        /// One [[components.allow]] for each program:
        allow: Vec<Component> = Vec::new();
    }
}

section! {
    /// A program, as a component.
    Component {
        /// The domain that it serves: none of server.domains.
        name: Domain = localhost();
        /// What it shares with this server. A file that holds it should be readable for the server alone.
        secret: Secret = Secret::default();
    }
}

section! {
    /// The log, written to the standard error output. It never holds passwords or message texts.
    Log {
        /// "error", "warn", "info", "debug" or "trace".
        level: LogLevel = LogLevel::Info;
        /// "text" for people or "json" for programs.
        format: LogFormat = LogFormat::Text;
    }
}

section! {
    /// Numbers for Prometheus.
    Metrics {
        /// A loopback address to answer GET /metrics at, or "off".
        listen: Option<SocketAddr> = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 9522)));
    }
}

section! {
    /// Administration. The commands of `unisono` reach a running server through its socket.
    Admin {
        /// The Unix socket. A relative path is in data_dir.
        socket: DataFile = DataFile::named("unisono.sock");
        /// A loopback address to offer the same HTTP API at, or "off". There, a request must show the
        /// token: "Authorization: Bearer TOKEN".
        listen: Option<SocketAddr> = None;
        /// The file of that token, open to the server's own user alone. Made at the first start that needs
        /// it. A relative path is in data_dir.
        token_file: DataFile = DataFile::named("admin.token");
    }
}

words! {
    /// A mechanism of SASL that can be switched off.
    LoginMechanism {
        /// RFC 5802 with SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
        /// RFC 7677.
        ScramSha256 = "SCRAM-SHA-256",
        /// RFC 5802.
        ScramSha1 = "SCRAM-SHA-1",
        /// RFC 4616; never outside of TLS.
        Plain = "PLAIN",
    }
}

words! {
    /// Who may make an account with a client.
    OpenTo {
        /// Who has an invitation.
        Invited = "invited",
        /// Whoever comes.
        Everybody = "everybody",
    }
}

words! {
    /// Whether there is something.
    Switch {
        /// There is.
        On = "on",
        /// There is not.
        Off = "off",
    }
}

words! {
    /// Who may make nodes of a service (XEP-0060 §8.1.1).
    NodeMakers {
        /// Who has an account here.
        Users = "users",
        /// Whoever comes.
        Everybody = "everybody",
        /// Nobody.
        Nobody = "nobody",
    }
}

words! {
    /// What users may do with their own accounts (XEP-0077).
    SelfService {
        /// §3.3
        ChangePassword = "change-password",
        /// §3.2
        DeleteAccount = "delete-account",
    }
}

words! {
    /// To what users may invite (XEP-0401 §5.1).
    UsersTo {
        /// To become a contact.
        Contacts = "contacts",
        /// To become a contact, with an account made for that.
        Accounts = "accounts",
        /// Not at all.
        Nothing = "nothing",
    }
}

words! {
    /// What is sent to a client that nobody looks at (XEP-0352).
    WhenInactive {
        /// Presence waits until something else is due, typing notices are left out.
        Important = "important",
        /// All that is sent to any client.
        Everything = "everything",
    }
}

words! {
    /// What a server for calls does.
    RelayKind {
        /// Tells a device its address (RFC 8489).
        Stun = "stun",
        /// The same inside of TLS.
        Stuns = "stuns",
        /// Passes on what two devices cannot send each other (RFC 8656).
        Turn = "turn",
        /// The same inside of TLS.
        Turns = "turns",
    }
}

words! {
    /// What carries packets to a server for calls.
    Transport {
        /// Datagrams.
        Udp = "udp",
        /// A stream.
        Tcp = "tcp",
    }
}

words! {
    /// Which messages the archive keeps for a user who chose nothing (XEP-0313 §6).
    ArchivePolicy {
        /// All messages.
        Always = "always",
        /// Messages with contacts of the roster.
        Roster = "roster",
        /// No message.
        Never = "never",
    }
}

words! {
    /// How much the log tells.
    LogLevel {
        /// What failed.
        Error = "error",
        /// And what looks wrong.
        Warn = "warn",
        /// And what the server does.
        Info = "info",
        /// And how it does it.
        Debug = "debug",
        /// And every step.
        Trace = "trace",
    }
}

words! {
    /// What a line of the log looks like.
    LogFormat {
        /// For people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
    }
}

impl SelfService {
    /// All of it.
    pub const ALL: [Self; 2] = [Self::ChangePassword, Self::DeleteAccount];
}

impl LoginMechanism {
    /// All of them, the strongest first.
    pub const ALL: [Self; 4] = [Self::ScramSha512, Self::ScramSha256, Self::ScramSha1, Self::Plain];
}

impl std::fmt::Display for LoginMechanism {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Config {
    /// Puts what lives in `data_dir` there.
    pub(crate) fn settle(&mut self) {
        let data_dir = &self.server.data_dir;
        self.store.url.settle(data_dir);
        self.admin.socket.settle(data_dir);
        self.admin.token_file.settle(data_dir);
    }

    /// The domains of the services for nodes.
    pub fn pubsub_domains(&self) -> Vec<Domain> {
        let domains = self.server.domains.iter().filter(|_| self.pubsub.service == Switch::On);
        // A name that is too long for that has none.
        domains.filter_map(|domain| Domain::new(&format!("pubsub.{domain}")).ok()).collect()
    }

    /// The directory of the certificate that the server makes itself.
    pub fn own_tls_dir(&self) -> PathBuf {
        self.server.data_dir.join("tls")
    }
}

impl Default for Config {
    fn default() -> Self {
        let mut config = Self::unsettled();
        config.settle();
        config
    }
}

impl Certificate {
    /// Whether this certificate is for `domain`.
    pub fn is_for(&self, domain: &Domain) -> bool {
        self.domains.is_empty() || self.domains.contains(domain)
    }
}

/// A `[[tls.certificate]]`, or an element of an inline list.
impl Setting for Certificate {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.element_table(value, "a table with cert and key", &["cert", "key"])
    }

    fn toml(&self) -> String {
        let (domains, cert, key) = (list_toml(&self.domains), self.cert.toml(), self.key.toml());
        format!("{{ domains = {domains}, cert = {cert}, key = {key} }}")
    }

    fn show_list(list: &[Self], _: &str, mark: &str) -> String {
        let example = [Self {
            domains: Domain::new("example.org").into_iter().collect(),
            cert: "/etc/unisono/fullchain.pem".into(),
            key: "/etc/unisono/privkey.pem".into(),
        }];
        let list = if list.is_empty() { &example } else { list };
        let tables = list.iter().map(|one| format!("{mark}[[tls.certificate]]\n{}", sample::keys(one, mark)));
        tables.collect()
    }
}

/// A `[[components.allow]]`, or an element of an inline list.
impl Setting for Component {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.element_table(value, "a table with name and secret", &["name", "secret"])
    }

    fn toml(&self) -> String {
        format!("{{ name = {}, secret = {} }}", self.name.toml(), self.secret.toml())
    }

    fn show_list(list: &[Self], _: &str, mark: &str) -> String {
        let example = Domain::new("gateway.example.org").map(|name| Self { name, ..Self::default() });
        let example = example.into_iter().collect::<Vec<_>>();
        let list = if list.is_empty() { &example } else { list };
        let tables =
            list.iter().map(|one| format!("{mark}[[components.allow]]\n{}", sample::keys(one, mark)));
        tables.collect()
    }
}

/// A `[[calls.relay]]`, or an element of an inline list.
impl Setting for Relay {
    fn read(value: &Spanned<DeValue<'_>>, reader: &mut Reader<'_>) -> Option<Self> {
        reader.element_table(value, "a table with kind and host", &["kind", "host"])
    }

    fn toml(&self) -> String {
        format!(
            "{{ kind = {}, host = {}, port = {}, transport = {}, secret = {}, password_for = {} }}",
            self.kind.toml(),
            self.host.toml(),
            self.port.toml(),
            self.transport.toml(),
            self.secret.toml(),
            self.password_for.toml()
        )
    }

    fn show_list(list: &[Self], _: &str, mark: &str) -> String {
        let host = Host::parse("turn.example.org", Path::new("")).unwrap_or_default();
        let example = [Self { host, ..Self::default() }];
        let list = if list.is_empty() { &example } else { list };
        let tables = list.iter().map(|one| format!("{mark}[[calls.relay]]\n{}", sample::keys(one, mark)));
        tables.collect()
    }
}

#[expect(clippy::expect_used, reason = "a constant, proven right by every test that reads a default")]
fn localhost() -> Domain {
    Domain::new("localhost").expect("localhost is a domain name")
}
