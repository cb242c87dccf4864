//! One module per extension. The order in which they run within a stage is read here.

pub mod xep0085_chat_states;
pub mod xep0184_receipts;
pub mod xep0198_stream_management;
pub mod xep0280_carbons;
pub mod xep0333_markers;
pub mod xep0334_hints;
pub mod xep0359_stanza_ids;

#[cfg(test)]
mod testing;

use unisono_core::extension::Extension;

/// All extensions, in the order in which they run within a stage.
pub const ALL: &[&dyn Extension] = &[
    // First at `annotate`: forged ids and copies are gone before anyone reads one.
    &xep0359_stanza_ids::StanzaIds,
    &xep0280_carbons::Carbons,
    // At `record`, what the sender asks for comes before what the kind of message suggests.
    &xep0334_hints::Hints,
    &xep0333_markers::Markers,
    &xep0184_receipts::Receipts,
    &xep0085_chat_states::ChatStates,
    // No part in the road of a message.
    &xep0198_stream_management::StreamManagement,
];
