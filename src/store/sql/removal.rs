//! Taking messages out of the store: purging, deleted accounts, what was delivered.

use sqlx::AnyConnection;

use super::bulk::{Binding, Bulk};
use super::database::Kind;

/// Removes those of the messages that no log refers to. All their entries must be in the index, if they are
/// anywhere.
pub(super) async fn remove_unreferenced(
    connection: &mut AnyConnection,
    kind: Kind,
    messages: &[i64],
) -> sqlx::Result<u64> {
    static REMOVE: Bulk = Bulk::new(
        "DELETE FROM message WHERE id IN (VALUES ",
        1,
        ") AND NOT EXISTS (SELECT 1 FROM log WHERE account = message.sender AND position = message.sent_at) \
         AND NOT EXISTS (SELECT 1 FROM log WHERE account = message.recipient AND position = message.received_at) \
         AND NOT EXISTS (SELECT 1 FROM waiting WHERE account = message.sender AND position = message.sent_at) \
         AND NOT EXISTS (SELECT 1 FROM waiting WHERE account = message.recipient \
                         AND position = message.received_at)",
    );
    REMOVE.run(connection, kind, messages, |query: Binding, id| query.bind(*id)).await
}
