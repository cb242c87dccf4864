//! The description of the administration API is true.

use serde_json::Value;
use tokio::net::TcpStream;

use crate::harness::{Database, Server, Start, request_with};

#[tokio::test]
async fn the_api_is_what_its_description_says() {
    let server =
        Server::start(Start { database: Database::Sqlite, set: vec!["admin.listen=127.0.0.1:0"] }).await;
    let mut phone = server.managed("alice", "phone").await;
    let report = "<block xmlns='urn:xmpp:blocking'><item jid='spam@example.net'>\
                  <report xmlns='urn:xmpp:reporting:1' reason='urn:xmpp:reporting:spam'><text>Spam.</text></report>\
                  </item></block>";
    phone.set(report).await;
    let at = server.address("admin");
    let token = std::fs::read_to_string(server.path("data/admin.token")).unwrap();
    let headers = [format!("Host: {at}"), format!("Authorization: Bearer {}", token.trim())];
    let headers: Vec<&str> = headers.iter().map(String::as_str).collect();
    let ask = async |line: &str, body: &str| {
        let (status, _, body) =
            request_with(TcpStream::connect(at).await.unwrap(), line, &headers, body).await;
        (status, if body.is_empty() { Value::Null } else { serde_json::from_str(&body).unwrap() })
    };
    let (status, description) = ask("GET /v1/openapi.json", "").await;
    assert_eq!((status, &description["openapi"]), (200, &Value::from("3.1.0")));

    // In an order in which each finds what it needs.
    let bodies = [
        ("GET", "/v1/version", ""),
        ("POST", "/v1/users", r#"{"jid":"bob@example.org","password":"secret"}"#),
        ("GET", "/v1/users", ""),
        ("GET", "/v1/users/{jid}", ""),
        ("PATCH", "/v1/users/{jid}", r#"{"state":"enabled"}"#),
        ("GET", "/v1/sync/{jid}", ""),
        ("GET", "/v1/users/{jid}/devices", ""),
        ("GET", "/v1/sessions", ""),
        ("DELETE", "/v1/sessions", ""),
        ("DELETE", "/v1/users/{jid}/devices/{id}", ""),
        ("PUT", "/v1/users/{jid}/password", r#"{"password":"secret"}"#),
        ("POST", "/v1/invitations", r#"{"account":"juliet@example.org","contact":"alice@example.org"}"#),
        ("GET", "/v1/invitations", ""),
        ("DELETE", "/v1/invitations/{token}", ""),
        ("GET", "/v1/reports", ""),
        ("DELETE", "/v1/reports/{number}", ""),
        ("DELETE", "/v1/users/{jid}", ""),
        ("GET", "/v1/openapi.json", ""),
    ];
    let described: usize = description["paths"]
        .as_object()
        .unwrap()
        .values()
        .map(|path| path.as_object().unwrap().keys().filter(|key| *key != "parameters").count())
        .sum();
    assert_eq!(bodies.len(), described, "each operation is tried");
    let (mut device, mut token, mut number) = (String::new(), String::new(), String::new());
    for (method, path, body) in bodies {
        let operation = &description["paths"][path][method.to_lowercase()];
        let query = if (method, path) == ("DELETE", "/v1/sessions") { "?jid=alice@example.org" } else { "" };
        let target = path.replace("{jid}", "alice%40example.org").replace("{id}", &device);
        let target = target.replace("{token}", &token).replace("{number}", &number);
        let (status, answer) = ask(&format!("{method} {target}{query}"), body).await;
        if let Some(id) = answer["devices"][0]["id"].as_str() {
            id.clone_into(&mut device);
        }
        let said = &operation["responses"][status.to_string()];
        assert!(!said.is_null(), "{method} {path}: {status} {answer}");
        if let Some(reference) = said["content"]["application/json"]["schema"]["$ref"].as_str() {
            fits(&description, reference, &answer);
        }
        if let Some(of_invitation) = answer["token"].as_str() {
            of_invitation.clone_into(&mut token);
        }
        if let Some(of_report) = answer["reports"][0]["number"].as_i64() {
            number = of_report.to_string();
        }
    }
    for gone in [format!("/v1/invitations/{token}"), format!("/v1/reports/{number}")] {
        assert_eq!(ask(&format!("DELETE {gone}"), "").await.0, 404, "{gone}");
    }
    let (status, error) = ask("GET /v1/users/nobody@example.org", "").await;
    assert_eq!(status, 404);
    fits(&description, "#/components/schemas/ErrorBody", &error);
}

/// Whether an object has all that its schema requires, and nothing that it does not know, and so on inside.
fn fits(description: &Value, reference: &str, value: &Value) {
    let schema = description.pointer(&reference[1..]).unwrap();
    fits_schema(description, schema, value, reference);
}

fn fits_schema(description: &Value, schema: &Value, value: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return fits(description, reference, value);
    }
    match schema["type"].as_str().unwrap() {
        "object" => {
            let object = value.as_object().unwrap_or_else(|| panic!("{at}: {value}"));
            for required in schema["required"].as_array().unwrap() {
                assert!(object.contains_key(required.as_str().unwrap()), "{at}: no {required} in {value}");
            }
            for (key, value) in object {
                let property = &schema["properties"][key];
                assert!(!property.is_null(), "{at}: {key} is not described");
                fits_schema(description, property, value, &format!("{at}/{key}"));
            }
        }
        "array" => {
            for value in value.as_array().unwrap() {
                fits_schema(description, &schema["items"], value, at);
            }
        }
        "string" => {
            let text = value.as_str().unwrap_or_else(|| panic!("{at}: {value}"));
            let words = schema["enum"].as_array();
            assert!(words.is_none_or(|words| words.iter().any(|word| word == text)), "{at}: {text}");
        }
        "integer" => assert!(value.is_i64() || value.is_u64(), "{at}: {value}"),
        "boolean" => assert!(value.is_boolean(), "{at}: {value}"),
        other => panic!("{at}: what is {other}?"),
    }
}
