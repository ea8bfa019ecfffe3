//! `make demo`: a carrier with customers of all kinds, the real engine registered to it, and a few dozen calls at once,
//! placed over the control API. Exits 0 only if every call came out as it should.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "the output is what the demo is for")]

mod customers;
mod progress;
mod table;

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use carrier::engine::Engine;
use carrier::{Account, CallReport, Carrier, CarrierConfig, DigestAlgorithm, Subscriber, Talk};
use control_api_client::{CdrFilter, Client, EventFilter};
use control_api_types::flow::Flow;
use control_api_types::{Call, CreateCall, FlowRef, TrunkState};

use crate::customers::{Customer, KINDS};
use crate::progress::Progress;

/// The prompts, spoken by espeak-ng for this project.
const WELCOME: &[u8] = include_bytes!("../../../../prompts/welcome.mp3");
const THANKS: &[u8] = include_bytes!("../../../../prompts/thanks.mp3");

/// Customers of each kind.
const EACH: usize = 4;

/// How long the carrier may take to let the trunk register.
const REGISTRATION: Duration = Duration::from_secs(20);
/// How long all calls may take: the slowest customer needs about 12 seconds.
const CALLS: Duration = Duration::from_secs(90);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let carrier = Carrier::start(town()).await.context("the carrier")?;
    println!(
        "carrier   {} wants a registration (digest SHA-256); {} customers",
        carrier.addr(),
        EACH * KINDS.len()
    );

    let engine = Engine::start(&trunk(&carrier)).await.context("the engine")?;
    let client = engine.client();
    println!("engine    carillon serve, SIP on {}", engine.sip_addr());
    wait_for_trunk(client).await?;
    println!("trunk     registered");

    for (name, file) in [("welcome", WELCOME), ("thanks", THANKS)] {
        let prompt = client.upload_prompt(name, file.to_vec()).await?;
        println!(
            "prompt    {name}.mp3: {:.1} s, {} Hz",
            prompt.duration_ms as f64 / 1000.0,
            prompt.sample_rate_hz
        );
    }
    client.put_flow("confirm", &flow()?).await?;
    println!("flow      confirm: ask for a key, thank, hang up\n");

    let customers = customers::all(EACH);
    let mut events = client.events(EventFilter::default()).await?;
    for customer in &customers {
        client.originate(&customer.call("carrier", "confirm")).await?;
    }
    let mut progress = Progress::new(customers.len());
    let watch = async {
        while !progress.is_over() {
            let event = events.next().await.context("the event stream ended")??;
            progress.take(&event);
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(CALLS, watch).await.context("the calls take too long")??;
    println!();

    let cdrs = client.cdrs(&CdrFilter::default()).await?.items;
    let wanted = customers.len();
    carrier.wait_for(|progress| progress.ended >= wanted as u64).await.context("the carrier misses calls")?;
    let reports = carrier.calls().await?;
    let wrong = report(&customers, &cdrs, &reports)?;

    let status = engine.stop().await?;
    ensure!(status.success(), "carillon ended with {status} after SIGTERM");
    carrier.shutdown().await?;
    ensure!(wrong == 0, "{wrong} of {wanted} calls did not come out as they should");
    println!("\n{wanted} of {wanted} calls came out as they should; carillon drained and stopped.");
    Ok(())
}

fn town() -> CarrierConfig {
    CarrierConfig {
        accounts: vec![Account { username: "carillon".into(), password: "demo-password".into() }],
        algorithms: vec![DigestAlgorithm::Sha256],
        talk: Talk::Silence,
        customers: KINDS
            .iter()
            .map(|kind| Subscriber::new(format!("*{}", kind.suffix), kind.behaviour()))
            .collect(),
        ..CarrierConfig::default()
    }
}

fn trunk(carrier: &Carrier) -> String {
    format!(
        r#"
        [[trunks]]
        name = "carrier"
        uri = "sip:{}"
        username = "carillon"
        password = "demo-password"
        register = true
        caller_ids = ["+622150001000"]
        "#,
        carrier.addr()
    )
}

/// What every call does once it is answered; sent to the engine as any control plane would.
fn flow() -> anyhow::Result<Flow> {
    let document = serde_json::json!({ "start": "ask", "steps": {
        "ask": { "verb": "gather", "play": {"prompt": "welcome"}, "max": 1, "timeout_ms": 2000,
                 "on": {"1": "thank", "2": "note", "timeout": "bye", "else": "bye"} },
        "note": { "verb": "set", "variables": {"callback": true}, "next": "thank" },
        "thank": { "verb": "play", "prompt": "thanks", "next": "bye" },
        "bye": { "verb": "hangup" } } });
    Flow::from_json(&document).map_err(|faults| anyhow::anyhow!("the demo's own flow: {faults:?}"))
}

impl Customer {
    fn call(&self, trunk: &str, flow: &str) -> CreateCall {
        CreateCall {
            trunk: Some(trunk.into()),
            timeout_s: 6,
            flow: Some(FlowRef::Name(flow.into())),
            client_state: Some(self.kind.name.into()),
            ..CreateCall::to(&self.number)
        }
    }
}

async fn wait_for_trunk(client: &Client) -> anyhow::Result<()> {
    let up = async {
        let mut events =
            client.events(EventFilter { types: vec!["trunk.*".into()], ..Default::default() }).await?;
        while client.trunk("carrier").await?.state != TrunkState::Up {
            events.next().await.context("the event stream ended")??;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(REGISTRATION, up).await.context("the trunk does not register")?
}

/// Prints the table of CDRs and says how many are not as they should be.
fn report(customers: &[Customer], cdrs: &[Call], reports: &[CallReport]) -> anyhow::Result<usize> {
    let cdrs: BTreeMap<&str, &Call> = cdrs.iter().map(|cdr| (cdr.to.as_str(), cdr)).collect();
    let by_call_id: BTreeMap<&str, &CallReport> =
        reports.iter().map(|report| (report.call_id.as_str(), report)).collect();
    ensure!(cdrs.len() == customers.len(), "{} CDRs for {} calls", cdrs.len(), customers.len());
    table::header();
    let mut wrong = 0;
    for customer in customers {
        let cdr =
            cdrs.get(customer.number.as_str()).with_context(|| format!("no CDR for {}", customer.number))?;
        let heard = cdr
            .sip_call_id
            .as_deref()
            .and_then(|id| by_call_id.get(id))
            .and_then(|report| report.heard.as_ref());
        let faults = customer.faults(cdr, heard);
        table::row(customer, cdr, heard, &faults);
        wrong += usize::from(!faults.is_empty());
    }
    Ok(wrong)
}
