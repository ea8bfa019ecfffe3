//! A typed client of the HTTP control API.
//!
//! Each method is one request and its answer; a refusal is [`ClientError::Problem`], with the code and every fault.
//! [`Events`] is a stream that goes on where it was when its connection breaks. Nothing else is repeated: give calls
//! ids of your own, and repeating [`Client::originate`] never places a call twice.
//!
//! ```no_run
//! # async fn example() -> Result<(), control_api_client::ClientError> {
//! use control_api_client::{Client, EventFilter};
//! use control_api_types::{CreateCall, EventData};
//! let client = Client::new("http://127.0.0.1:8080", "car_…")?;
//! let mut events = client.events(EventFilter::default()).await?;
//! let call = client.originate(&CreateCall::to("sip:bob@127.0.0.1:5070")).await?;
//! while let Some(event) = events.next().await {
//!     let event = event?;
//!     if let EventData::CallEnded(cdr) = event.data && cdr.id == call.id {
//!         return Ok(());
//!     }
//! }
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod client;
mod error;
mod events;
mod resources;
mod sse;

pub use client::{CallFilter, CdrFilter, Client};
pub use error::ClientError;
pub use events::{EventFilter, Events};
