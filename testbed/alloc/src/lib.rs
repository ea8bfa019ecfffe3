//! A global allocator that counts, for tests that prove a path does not allocate
