//! What is told of a connection to a database server that TLS does not come about on.

/// An error of TLS, and what helps. `None` for an error of something else.
pub(super) fn told(error: &sqlx::Error) -> Option<String> {
    match error {
        sqlx::Error::Tls(error) => Some(match error.to_string().as_str() {
            "server does not support TLS" => {
                "the database server offers no TLS: it needs ssl = on in its postgresql.conf, and a certificate"
                    .to_owned()
            }
            other => format!("no connection with TLS to the database server: {other}"),
        }),
        // The driver hands on what rustls finds in an error of the connection.
        sqlx::Error::Io(error) => error.to_string().strip_prefix("invalid peer certificate: ").map(of_certificate),
        _ => None,
    }
}

fn of_certificate(found: &str) -> String {
    const CERTIFICATE: &str = "the certificate of the database server";
    // The latter: an authority of the same name, with another key.
    if matches!(found, "UnknownIssuer" | "BadSignature") {
        return format!(
            "{CERTIFICATE} is by no authority that is trusted: name the root certificate of its authority, as \
             sslrootcert=/PATH in the URL"
        );
    }
    if found.contains("CaUsedAsEndEntity") {
        return format!(
            "{CERTIFICATE} is one of an authority (CA:TRUE), which is not for a server: let it sign one that is"
        );
    }
    if found.starts_with("certificate not valid for name") {
        return format!("{CERTIFICATE} is for another host than the URL names: {found}");
    }
    format!("{CERTIFICATE} cannot be trusted: {found}")
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use std::fs;

    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use sqlx::AnyConnection;
    use tempfile::TempDir;
    use unisono_core::storage::StoreError;

    use super::super::{SqlStore, look};
    use crate::sql::error::read_error;
    use crate::testing::OwnServer;

    /// An authority, and its certificate.
    struct Authority {
        issuer: Issuer<'static, KeyPair>,
        root: String,
    }

    impl Authority {
        fn new(name: &str) -> Self {
            let (mut params, key) = (of_authority(&[]), KeyPair::generate().unwrap());
            params.distinguished_name.push(DnType::CommonName, name);
            let root = params.self_signed(&key).unwrap().pem();
            Self { issuer: Issuer::new(params, key), root }
        }

        /// A certificate for `localhost` and its key.
        fn sign(&self) -> [String; 2] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
            [params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem()]
        }
    }

    fn of_authority(names: &[&str]) -> CertificateParams {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    /// A file of a folder, as a parameter of a URL.
    fn root_file(folder: &TempDir, name: &str, pem: &str) -> String {
        let file = folder.path().join(name);
        fs::write(&file, pem).unwrap();
        format!("&sslrootcert={}", file.display())
    }

    /// Whether the connection that writes and one that reads are encrypted, as the server sees it.
    async fn encrypted(url: &str) -> Result<[bool; 2], StoreError> {
        const SSL: &str = "SELECT CASE WHEN ssl THEN 1::BIGINT ELSE 0::BIGINT END FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        let ask = async |connection: &mut AnyConnection| {
            sqlx::query_scalar::<_, i64>(SSL).fetch_one(connection).await.map_err(read_error)
        };
        let store = SqlStore::open(url).await?;
        let seen = [store.shared.write(ask).await?, store.shared.database.read(ask).await?];
        store.close().await;
        Ok(seen.map(|ssl| ssl == 1))
    }

    /// What the start of the server and `unisono check` say of a database that they cannot reach.
    async fn refused(url: &str) -> [String; 2] {
        let opened = SqlStore::open(url).await.err().unwrap_or_else(|| panic!("it is opened: {url}"));
        let looked = look(url).await.err().unwrap_or_else(|| panic!("it is looked at: {url}"));
        [opened.to_string(), looked.to_string()]
    }

    #[tokio::test]
    async fn a_server_has_to_prove_what_it_is_asked_to_prove() {
        let (authority, folder) = (Authority::new("ours"), tempfile::tempdir().unwrap());
        let [certificate, key] = authority.sign();
        let Some(server) = OwnServer::with_port("-tls", Some([&certificate, &key])) else { return };
        let ours = root_file(&folder, "ours.pem", &authority.root);
        let other = root_file(&folder, "other.pem", &Authority::new("other").root);
        let forged = root_file(&folder, "forged.pem", &Authority::new("ours").root);
        let no_certificate = root_file(&folder, "none.pem", "-----BEGIN CERTIFICATE-----");
        let url = |host, mode, root: &str| {
            format!("{}?sslmode={mode}{root}", server.url().replace("localhost", host))
        };
        for (host, mode, root) in [
            ("localhost", "verify-full", &*ours),
            ("localhost", "verify-ca", &ours),
            ("127.0.0.1", "verify-ca", &ours), // which is not in the certificate
            ("127.0.0.1", "require", &other),
            ("localhost", "require", ""),
            ("localhost", "prefer", ""),
        ] {
            let url = url(host, mode, root);
            assert_eq!(encrypted(&url).await.unwrap(), [true, true], "{url}");
            look(&url).await.unwrap();
        }
        assert_eq!(encrypted(&url("localhost", "disable", "")).await.unwrap(), [false, false]);
        for (host, mode, root, want) in [
            (
                "localhost",
                "verify-full",
                &*other,
                "by no authority that is trusted: name the root certificate",
            ),
            ("localhost", "verify-full", &forged, "by no authority that is trusted"),
            ("localhost", "verify-full", "", "sslrootcert=/PATH"),
            ("localhost", "verify-ca", &other, "by no authority that is trusted"),
            ("127.0.0.1", "verify-full", &ours, "is for another host than the URL names"),
            ("localhost", "verify-full", &no_certificate, "no connection with TLS to the database server"),
        ] {
            let url = url(host, mode, root);
            for said in refused(&url).await {
                assert!(said.contains(want), "{url}: {said}");
            }
        }
    }

    #[tokio::test]
    async fn a_certificate_of_an_authority_is_none_of_a_server() {
        let key = KeyPair::generate().unwrap();
        let certificate = of_authority(&["localhost"]).self_signed(&key).unwrap().pem();
        let server = OwnServer::with_port("-authority", Some([&certificate, &key.serialize_pem()]));
        let (Some(server), folder) = (server, tempfile::tempdir().unwrap()) else { return };
        let url =
            format!("{}?sslmode=verify-full{}", server.url(), root_file(&folder, "ca.pem", &certificate));
        for said in refused(&url).await {
            assert!(said.contains("(CA:TRUE), which is not for a server"), "{said}");
        }
    }

    #[tokio::test]
    async fn a_server_without_tls_is_not_spoken_to_where_tls_is_asked_for() {
        let Some(server) = OwnServer::with_port("-clear", None) else { return };
        assert_eq!(encrypted(server.url()).await.unwrap(), [false, false]);
        for mode in ["require", "verify-ca", "verify-full"] {
            for said in refused(&format!("{}?sslmode={mode}", server.url())).await {
                assert!(said.contains("offers no TLS: it needs ssl = on"), "{mode}: {said}");
            }
        }
    }
}
