//! A seeded sans-IO network emulator: loss, delay, jitter, duplication, reordering
