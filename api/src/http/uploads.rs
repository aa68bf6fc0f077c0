//! Memory for uploads: bodies are held whole until they are committed, so all together they may only be so large.

use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::http::header::CONTENT_LENGTH;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::extract::FILE_BYTES_MAX;
use super::problem::{Failure, Kind};

/// Memory that all uploads may take at once.
const BYTES_MAX: usize = 2 * FILE_BYTES_MAX;
/// What one permit stands for.
const UNIT: usize = 4096;
const WAIT_MAX: Duration = Duration::from_secs(30);

/// The memory that is left.
pub(crate) struct Uploads(Arc<Semaphore>);

impl Uploads {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BYTES_MAX / UNIT)))
    }

    /// Takes what the body of a request will need; one that does not say its length may need the most.
    pub(crate) async fn place(&self, headers: &HeaderMap) -> Result<OwnedSemaphorePermit, Failure> {
        let length =
            headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let units = length.unwrap_or(FILE_BYTES_MAX).min(FILE_BYTES_MAX).div_ceil(UNIT);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let taken = tokio::time::timeout(WAIT_MAX, Arc::clone(&self.0).acquire_many_owned(units)).await;
        match taken {
            Ok(Ok(place)) => Ok(place),
            _ => Err(Failure::new(Kind::Busy, "busy", "too much is being uploaded at the moment")),
        }
    }
}
