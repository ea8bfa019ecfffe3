//! Digest SHA-256, which Debian's SIPp cannot verify, against the auth module of Kamailio.

use carrier::kamailio::Kamailio;
use control_api_types::{Disposition, TrunkState};
use serde_json::json;

use crate::lab::Lab;

async fn trunk_of(kamailio: &Kamailio, password: &str) -> Lab {
    let (username, _) = Kamailio::ACCOUNT;
    Lab::new(&format!(
        r#"
        [[trunks]]
        name = "t"
        uri = "sip:{}"
        username = "{username}"
        password = "{password}"
        register = true
        "#,
        kamailio.addr(),
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_and_calls_with_sha_256() {
    let kamailio = Kamailio::start().await.unwrap_or_else(|error| panic!("{error}"));
    let mut lab = trunk_of(&kamailio, Kamailio::ACCOUNT.1).await;
    lab.trunk_is(TrunkState::Up).await;
    let call = lab.place(json!({})).await;
    let cdr = lab.story(&call).await.cdr;
    // Only who proves the account gets as far as the busy customer.
    assert_eq!(
        (cdr.disposition, cdr.sip_status, cdr.q850_cause),
        (Some(Disposition::Busy), Some(486), Some(17))
    );
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_not_tried_again() {
    let kamailio = Kamailio::start().await.unwrap_or_else(|error| panic!("{error}"));
    let lab = trunk_of(&kamailio, "wrong").await;
    lab.trunk_is(TrunkState::Rejected).await;
}
