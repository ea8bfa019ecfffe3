//! A simulated carrier on our own SIP core: a registrar with digest, and customers who answer, press keys, are busy or
//! hang up. It measures every packet it receives with its own arithmetic.
//!
//! ```no_run
//! # async fn run() -> Result<(), carrier::Error> {
//! use carrier::{Carrier, CarrierConfig};
//!
//! let carrier = Carrier::start(CarrierConfig::default()).await?;
//! println!("call sip:anybody03@{} to meet somebody busy", carrier.addr());
//! carrier.wait_for(|progress| progress.ended == 1).await?;
//! println!("{:?}", carrier.calls().await?);
//! # Ok(()) }
//! ```
//!
//! All calls share one RTP port and are told apart by the address in their offer: the carrier must not be what a load
//! test measures. That is why it learns nothing of packets from other addresses but their number.
//!
//! The crate also runs the other peers of the test suite: [`sipp`], [`kamailio`], [`baresip`] and [`chromium`], and
//! [`engine`], which is `carillon` itself.
//!
//! It is polite by itself. What real carriers do and should not are [`Quirk`]s of a number, any of them together, and what
//! the way to the caller does is the [`Network`]:
//!
//! ```toml
//! customers = [
//!     { number = "*21", does = { answers = {} }, quirks = ["changed-to-tag", "no-contact"] },
//!     { number = "*22", does = { answers = { then = [{ wait_ms = 500 }, "reinvite", "hang_up"] } } },
//!     { number = "*23", does = { refuses = { status = 480, after_ms = 500 } }, quirks = ["early-bye"] },
//! ]
//! network = { reorder = 0.3, hold_ms = 100 }
//! ```
//!
//! It places no calls (SIPp does), sends no RTCP, and takes no change of a session.
#![forbid(unsafe_code)]

pub mod baresip;
mod carrier;
pub mod chromium;
mod config;
mod customer;
pub mod engine;
mod exchange;
pub mod kamailio;
mod line;
pub mod process;
mod quirks;
mod reception;
mod registrar;
mod report;
pub mod sipp;
mod voice;

pub use carrier::{Carrier, Error, Progress};
pub use config::{Account, CarrierConfig, CodecName, DigestAlgorithm, Listen, Network, Subscriber};
pub use customer::{Act, Answers, Behaviour, Refusal};
pub use quirks::Quirk;
pub use reception::Heard;
pub use registrar::Registration;
pub use report::{CallReport, Outcome, Spread, Totals};
pub use voice::Talk;
