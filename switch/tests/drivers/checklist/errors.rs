//! What is not built: UNIMPLEMENTED, by name, and never ignored (§9.5 to §9.8, §16.3).

use tonic::Code;
use weft_proto::p4::v1 as wire;
use weft_proto::p4::v1::entity::Entity as Wire;
use weft_proto::p4::v1::stream_message_request::Update as Ask;
use weft_proto::p4::v1::stream_message_response::Update as Told;
use weft_proto::p4::v1::update::Type::Insert;
use weft_proto::status::parse_batch_error;

use super::{change, codes};
use crate::client::{Lab, switches};

fn unbuilt() -> Vec<(Wire, &'static str)> {
    vec![
        (
            Wire::ExternEntry(wire::ExternEntry::default()),
            "extern_entry",
        ),
        (
            Wire::ValueSetEntry(wire::ValueSetEntry::default()),
            "value_set_entry",
        ),
        (
            Wire::RegisterEntry(wire::RegisterEntry::default()),
            "register_entry",
        ),
        (
            Wire::DigestEntry(wire::DigestEntry::default()),
            "digest_entry",
        ),
    ]
}

/// §9: entities that the switch has not are refused by name, in reads and in writes.
#[tokio::test]
async fn entities_that_are_not_built_are_unimplemented_and_named() {
    let lab = Lab::start(switches(1, 1)).await;
    let _primary = lab.own(1).await;
    for (entity, name) in unbuilt() {
        let query = wire::Entity {
            entity: Some(entity.clone()),
        };
        let read = lab.read_wire(1, vec![query]).await.1.unwrap_err();
        let written = lab.write_wire(1, vec![change(Insert, entity)]).await;
        for refused in [read, written.unwrap_err()] {
            assert_eq!(codes(&refused), [Code::Unimplemented]);
            let errors = parse_batch_error(&refused).unwrap();
            assert!(errors[0].message.contains(name), "{errors:?}");
        }
    }
}

/// §16.6: messages on the stream that the switch has no use for are answered by an error, with the message.
#[tokio::test]
async fn stream_messages_that_are_not_built_are_answered_by_an_error() {
    let lab = Lab::start(switches(1, 1)).await;
    let mut primary = lab.own(1).await;
    primary.ask(Ask::DigestAck(wire::DigestListAck {
        digest_id: 1,
        list_id: 2,
    }));
    primary.ask(Ask::Other(Default::default()));
    for _ in 0..2 {
        match primary.next().await.unwrap().unwrap() {
            Told::Error(error) => {
                assert_eq!(Code::from(error.canonical_code), Code::Unimplemented);
                assert!(error.details.is_some());
            }
            other => panic!("expected an error, not {other:?}"),
        }
    }
}
