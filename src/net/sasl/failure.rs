//! How an exchange fails.

use std::fmt;

/// The conditions of RFC 6120 §6.5, all that a peer learns of a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaslFailure {
    /// §6.5.1: the client gave up.
    Aborted,
    /// §6.5.2: the password was right, the account is switched off.
    AccountDisabled,
    /// §6.5.3: the password was right, it must be changed first.
    CredentialsExpired,
    /// §6.5.4: the mechanism is offered inside TLS only.
    EncryptionRequired,
    /// §6.5.5: the outer base64 is wrong; only the caller can see this.
    IncorrectEncoding,
    /// §6.5.6: the client asks to act as somebody else.
    InvalidAuthzid,
    /// §6.5.7: no such mechanism is offered.
    InvalidMechanism,
    /// §6.5.8: the message breaks the syntax of its mechanism.
    MalformedRequest,
    /// §6.5.9: the mechanism is known, and switched off.
    MechanismTooWeak,
    /// §6.5.10: wrong password, unknown user, failed channel binding.
    NotAuthorized,
    /// §6.5.11: the credentials cannot be read at present; only the caller can see this.
    TemporaryAuthFailure,
}

impl SaslFailure {
    /// All conditions.
    pub const ALL: [Self; 11] = [
        Self::Aborted,
        Self::AccountDisabled,
        Self::CredentialsExpired,
        Self::EncryptionRequired,
        Self::IncorrectEncoding,
        Self::InvalidAuthzid,
        Self::InvalidMechanism,
        Self::MalformedRequest,
        Self::MechanismTooWeak,
        Self::NotAuthorized,
        Self::TemporaryAuthFailure,
    ];

    /// The name of the element inside `<failure/>`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Aborted => "aborted",
            Self::AccountDisabled => "account-disabled",
            Self::CredentialsExpired => "credentials-expired",
            Self::EncryptionRequired => "encryption-required",
            Self::IncorrectEncoding => "incorrect-encoding",
            Self::InvalidAuthzid => "invalid-authzid",
            Self::InvalidMechanism => "invalid-mechanism",
            Self::MalformedRequest => "malformed-request",
            Self::MechanismTooWeak => "mechanism-too-weak",
            Self::NotAuthorized => "not-authorized",
            Self::TemporaryAuthFailure => "temporary-auth-failure",
        }
    }

    /// The same with what the log should say.
    pub(super) const fn because(self, reason: &'static str) -> Refusal {
        Refusal { failure: self, reason }
    }
}

impl fmt::Display for SaslFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The end of an exchange that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{failure}: {reason}")]
pub struct Refusal {
    /// For the peer.
    pub failure: SaslFailure,
    /// For the log only: it tells an unknown user from a wrong password.
    pub reason: &'static str,
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_condition_has_a_name_of_its_own() {
        let names: HashSet<_> = SaslFailure::ALL.iter().map(|failure| failure.as_str()).collect();
        assert_eq!(names.len(), SaslFailure::ALL.len());
        assert_eq!(SaslFailure::TemporaryAuthFailure.to_string(), "temporary-auth-failure"); // §6.5.11
        assert_eq!(
            SaslFailure::NotAuthorized.because("wrong password").to_string(),
            "not-authorized: wrong password"
        );
    }
}
