//! How large the memory images of sessions are: as memory, and in the store.

use super::Store;
use crate::error::StoreError;
use crate::id::NodeId;
use crate::image;

/// How large an image is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ImageSize {
    /// Bytes of the memory that it is of.
    pub memory_bytes: u64,
    /// Bytes of its nodes in the store: what other states and sessions have of it counts, too.
    pub stored_bytes: u64,
}

impl Store {
    /// Returns how large a memory is, by one node of its image.
    ///
    /// # Errors
    /// [`StoreError::MissingNode`], [`StoreError::DamagedNode`], also when it is no image, or what reading met.
    pub fn memory_bytes(&self, image: NodeId) -> Result<u64, StoreError> {
        image::memory_bytes(&self.inner.nodes.node(&image)?, &image)
    }

    /// Returns how large an image is. Pages are not read: where they lie says how many bytes there are.
    ///
    /// # Errors
    /// As [`Self::memory_bytes`].
    pub fn image_size(&self, image: NodeId) -> Result<ImageSize, StoreError> {
        let memory_bytes = self.memory_bytes(image)?;
        let mut stored_bytes = 0u64;
        let mut waiting = vec![image];
        while let Some(id) = waiting.pop() {
            let bytes = self.inner.nodes.peek(&id)?;
            stored_bytes += bytes.len() as u64;
            let children = image::children(&bytes).map_err(|error| crate::tree::source::damaged(&id, error))?;
            if image::names_pages(&bytes) {
                for group in &children {
                    let location = self.inner.index.locate(group)?.ok_or(StoreError::MissingNode(*group))?;
                    stored_bytes += u64::from(location.length);
                }
            } else {
                waiting.extend(children);
            }
        }
        Ok(ImageSize { memory_bytes, stored_bytes })
    }
}
