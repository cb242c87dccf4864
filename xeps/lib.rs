//! One module per extension. The order in which they run within a stage is read here.

pub mod xep0004_forms;
pub mod xep0012_last_activity;
pub mod xep0013_offline_retrieval;
pub mod xep0030_disco;
pub mod xep0048_bookmarks;
pub mod xep0049_private_xml;
pub mod xep0050_commands;
pub mod xep0054_vcard;
pub mod xep0059_result_sets;
pub mod xep0060_pubsub;
pub mod xep0077_registration;
pub mod xep0084_avatar;
pub mod xep0085_chat_states;
pub mod xep0092_version;
pub mod xep0115_caps;
pub mod xep0128_disco_extensions;
pub mod xep0153_vcard_avatars;
pub mod xep0157_contacts;
pub mod xep0160_offline;
pub mod xep0163_pep;
pub mod xep0172_nick;
pub mod xep0184_receipts;
pub mod xep0191_blocking;
pub mod xep0198_stream_management;
pub mod xep0199_ping;
pub mod xep0202_time;
pub mod xep0203_delay;
pub mod xep0215_external_services;
pub mod xep0222_public_data;
pub mod xep0223_private_data;
pub mod xep0280_carbons;
pub mod xep0292_vcard4;
pub mod xep0297_forwarding;
pub mod xep0308_correction;
pub mod xep0312_pubsub_since;
pub mod xep0313_mam;
pub mod xep0333_markers;
pub mod xep0334_hints;
pub mod xep0352_csi;
pub mod xep0353_jingle_messages;
pub mod xep0357_push;
pub mod xep0359_stanza_ids;
pub mod xep0377_reporting;
pub mod xep0379_preauth;
pub mod xep0380_encryption;
pub mod xep0384_omemo;
pub mod xep0390_caps2;
pub mod xep0395_compare_and_publish;
pub mod xep0398_avatar_conversion;
pub mod xep0401_invitations;
pub mod xep0402_bookmarks;
pub mod xep0411_bookmark_conversion;
pub mod xep0424_retraction;
pub mod xep0428_fallback;
pub mod xep0430_inbox;
pub mod xep0441_mam_preferences;
pub mod xep0444_reactions;
pub mod xep0445_preauth_registration;
pub mod xep0455_outages;
pub mod xep0461_replies;
pub mod xep0490_displayed;
pub mod xep0492_notification_settings;
pub mod xep0494_client_access;

#[cfg(test)]
mod testing;

use unisono_core::extension::Extension;

/// All extensions, in the order in which they run within a stage.
pub const ALL: &[&dyn Extension] = &[
    // First at `admit`: no other extension sees what is blocked.
    &xep0191_blocking::Blocking,
    // First at `annotate`: forged ids and copies are gone before anyone reads one.
    &xep0359_stanza_ids::StanzaIds,
    &xep0203_delay::Delay,
    &xep0280_carbons::Carbons,
    // At `record`, typing is never kept; then comes what the sender asks for, before what the kind of message suggests.
    &xep0085_chat_states::ChatStates,
    &xep0334_hints::Hints,
    &xep0184_receipts::Receipts,
    &xep0308_correction::Correction,
    &xep0333_markers::Markers,
    &xep0353_jingle_messages::JingleMessages,
    &xep0380_encryption::Encryption,
    &xep0424_retraction::Retraction,
    &xep0428_fallback::Fallback,
    &xep0444_reactions::Reactions,
    &xep0461_replies::Replies,
    // After all that know what a message carries: what people write is shown, the rest waits.
    &xep0313_mam::Archive,
    &xep0160_offline::Offline,
    &xep0441_mam_preferences::ArchivePreferences,
    &xep0490_displayed::DisplayedSync,
    &xep0430_inbox::Conversations,
    // After what knows how far the owner has read.
    &xep0357_push::Push,
    // At `filter`.
    &xep0352_csi::ClientState,
    // Requests, and what streams agree on.
    &xep0198_stream_management::StreamManagement,
    &xep0004_forms::Forms,
    &xep0012_last_activity::LastActivity,
    &xep0013_offline_retrieval::OfflineRetrieval,
    &xep0030_disco::Disco,
    &xep0048_bookmarks::BookmarkList,
    &xep0049_private_xml::PrivateXml,
    &xep0050_commands::Commands,
    &xep0054_vcard::VCards,
    &xep0059_result_sets::ResultSets,
    // Before nodes: what a device says as it comes decides what it gets of them.
    &xep0312_pubsub_since::PubSubSince,
    &xep0060_pubsub::PubSub,
    &xep0395_compare_and_publish::CompareAndPublish,
    &xep0077_registration::Registration,
    &xep0084_avatar::UserAvatar,
    &xep0092_version::Version,
    &xep0115_caps::Caps,
    &xep0128_disco_extensions::DiscoExtensions,
    &xep0153_vcard_avatars::VCardAvatars,
    &xep0157_contacts::ContactAddresses,
    &xep0163_pep::PersonalEventing,
    &xep0172_nick::Nickname,
    &xep0199_ping::Ping,
    &xep0202_time::EntityTime,
    &xep0215_external_services::ExternalServices,
    &xep0222_public_data::PublicData,
    &xep0223_private_data::PrivateData,
    &xep0292_vcard4::VCard4,
    &xep0297_forwarding::Forwarding,
    &xep0377_reporting::Reporting,
    &xep0379_preauth::PreAuthenticated,
    &xep0390_caps2::Caps2,
    &xep0398_avatar_conversion::AvatarConversion,
    &xep0401_invitations::Invites,
    &xep0384_omemo::Omemo,
    &xep0402_bookmarks::Bookmarks,
    &xep0411_bookmark_conversion::BookmarkConversion,
    &xep0492_notification_settings::NotificationSettings,
    &xep0445_preauth_registration::InvitedRegistration,
    &xep0455_outages::Outages,
    &xep0494_client_access::ClientAccess,
];
