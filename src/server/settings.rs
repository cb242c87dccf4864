//! From the configuration to what each layer is told of it.

use std::time::Duration;

use unisono_core::allowance::Allowance;
use unisono_core::hosted::{Hosted, Makers};
use unisono_core::hub::{ExternalService, Settings};
use unisono_core::invitations::{InvitationPolicy, RegistrationPolicy, UsersInvite};
use unisono_core::jid::BareJid;
use unisono_net::sasl::{Hash, Policy};
use unisono_net::{Limits, Rate};
use unisono_xeps::xep0060_pubsub;

use crate::config::{
    ArchivePolicy, Config, ContactUri, Contacts, Invitations, LoginMechanism, NodeMakers, OpenTo,
    Registration, Relay, SelfService, Size, UsersTo, WhenInactive,
};

/// The time over which what a client sends is averaged.
const RATE_SECONDS: u64 = 10;
const RATE_EVERY: Duration = Duration::from_secs(RATE_SECONDS);

/// What the accounts are run by.
pub(crate) fn settings(config: &Config) -> Settings {
    Settings {
        domains: config.server.domains.iter().map(|domain| BareJid::from(domain.clone())).collect(),
        resume_for: config.limits.resume_timeout,
        devices_max: config.limits.devices_per_account as usize,
        sessions_max: config.limits.sessions_per_account as usize,
        outbox_bytes_max: usize::try_from(config.limits.outbox_bytes.get()).unwrap_or(usize::MAX),
        archive: match config.archive.policy {
            ArchivePolicy::Always => unisono_core::hub::ArchivePolicy::Always,
            ArchivePolicy::Roster => unisono_core::hub::ArchivePolicy::Roster,
            ArchivePolicy::Never => unisono_core::hub::ArchivePolicy::Never,
        },
        spares_inactive: match config.clients.when_inactive {
            WhenInactive::Important => true,
            WhenInactive::Everything => false,
        },
        contacts: contacts(&config.contacts),
        services: config.calls.relay.iter().map(service).collect(),
        registration: registration(&config.registration),
        invitations: invitations(&config.invitations),
        hosted: hosted(config),
        notifications_per_second: config.limits.notifications_per_second,
        items_bytes_max: config.limits.items_bytes.get(),
        status_addresses: config.contacts.outages.iter().map(|page| page.as_str().to_owned()).collect(),
        ..Settings::default()
    }
}

/// The services of this server.
fn hosted(config: &Config) -> Vec<Hosted> {
    let makers = match config.pubsub.create_nodes {
        NodeMakers::Users => Makers::Users,
        NodeMakers::Everybody => Makers::Everybody,
        NodeMakers::Nobody => Makers::Nobody,
    };
    let nodes = config.pubsub_domains().into_iter();
    nodes.map(|domain| Hosted { jid: domain.into(), kind: xep0060_pubsub::SERVICE, makers }).collect()
}

fn registration(registration: &Registration) -> RegistrationPolicy {
    let may = |what| registration.users_may.contains(&what);
    let burst = registration.accounts_per_ip_per_hour;
    RegistrationPolicy {
        is_open: match registration.open_to {
            OpenTo::Everybody => true,
            OpenTo::Invited => false,
        },
        of_network: Allowance {
            burst,
            every: Duration::from_secs(3600).checked_div(burst).unwrap_or_default(),
        },
        changes_passwords: may(SelfService::ChangePassword),
        deletes_accounts: may(SelfService::DeleteAccount),
    }
}

fn invitations(invitations: &Invitations) -> InvitationPolicy {
    InvitationPolicy {
        by_users: match invitations.users_to {
            UsersTo::Nothing => UsersInvite::Nobody,
            UsersTo::Contacts => UsersInvite::Contacts,
            UsersTo::Accounts => UsersInvite::Accounts,
        },
        creators: invitations.creators.iter().map(|account| account.jid().clone()).collect(),
        last_for: invitations.expire_after,
        landing_page: invitations.landing_page.as_ref().map(|page| page.as_str().to_owned()),
    }
}

/// The fields of XEP-0157 §7.1.
fn contacts(contacts: &Contacts) -> Vec<(&'static str, Vec<String>)> {
    let fields = [
        ("abuse-addresses", &contacts.abuse),
        ("admin-addresses", &contacts.admin),
        ("feedback-addresses", &contacts.feedback),
        ("sales-addresses", &contacts.sales),
        ("security-addresses", &contacts.security),
        ("status-addresses", &contacts.status),
        ("support-addresses", &contacts.support),
    ];
    let texts = |uris: &Vec<ContactUri>| uris.iter().map(|uri| uri.as_str().to_owned()).collect();
    fields.into_iter().map(|(field, uris)| (field, texts(uris))).collect()
}

fn service(relay: &Relay) -> ExternalService {
    ExternalService {
        kind: relay.kind.as_str(),
        host: relay.host.as_str().to_owned(),
        port: relay.port,
        transport: relay.transport.as_str(),
        secret: relay.secret.reveal().map(|secret| (secret.to_owned(), relay.password_for)),
    }
}

/// What clients may use.
pub(crate) fn limits(config: &Config) -> Limits {
    let limits = &config.limits;
    let bytes = |size: Size| usize::try_from(size.get()).unwrap_or(usize::MAX);
    let unlimited = |count: u32| if count == 0 { usize::MAX } else { count as usize };
    let per_second = |units: u64| Rate { units: units.saturating_mul(RATE_SECONDS), every: RATE_EVERY };
    Limits {
        early_stanza_bytes_max: bytes(limits.stanza_bytes_before_auth),
        stanza_bytes_max: bytes(limits.stanza_bytes),
        authenticate_within: limits.auth_timeout,
        bind_within: limits.bind_timeout,
        sasl_attempts_max: limits.auth_attempts,
        sasl_delay_max: limits.auth_delay_max,
        unauthenticated_max: unlimited(limits.connections_before_auth),
        unauthenticated_per_address_max: unlimited(limits.connections_per_ip_before_auth),
        connection_rate: Rate {
            units: limits.connections_per_ip_per_minute.into(),
            every: Duration::from_secs(60),
        },
        stanza_rate: per_second(limits.stanzas_per_second.into()),
        byte_rate: per_second(limits.bytes_per_second.get()),
        window: limits.unfinished_stanzas as usize,
        idle_after: limits.idle_timeout,
        ..Limits::default()
    }
}

/// What clients may log in with.
pub(crate) fn policy(config: &Config) -> Policy {
    let mechanisms = &config.login.mechanisms;
    let hashes = mechanisms.iter().filter_map(|mechanism| match mechanism {
        LoginMechanism::ScramSha512 => Some(Hash::Sha512),
        LoginMechanism::ScramSha256 => Some(Hash::Sha256),
        LoginMechanism::ScramSha1 => Some(Hash::Sha1),
        LoginMechanism::Plain => None,
    });
    let plain = mechanisms.contains(&LoginMechanism::Plain);
    Policy { hashes: hashes.collect(), plain, ..Policy::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mechanism_that_is_not_named_is_not_offered() {
        let mut config = Config::default();
        assert_eq!(policy(&config), Policy::default());
        config.login.mechanisms = vec![LoginMechanism::ScramSha256];
        let one = Policy { hashes: vec![Hash::Sha256], plain: false, ..Policy::default() };
        assert_eq!(policy(&config), one);
        config.login.mechanisms = vec![LoginMechanism::Plain];
        assert_eq!(policy(&config), Policy { hashes: Vec::new(), ..Policy::default() });
    }

    #[test]
    fn nothing_is_no_limit() {
        let mut config = Config::default();
        config.limits.stanzas_per_second = 0;
        config.limits.bytes_per_second = Size::bytes(0);
        config.limits.connections_per_ip_per_minute = 0;
        let limits = limits(&config);
        let rates = [limits.stanza_rate, limits.byte_rate, limits.connection_rate];
        assert!(rates.iter().all(|rate| rate.units == 0), "{rates:?}");
    }
}
