//! The shell of the engine: drives the cores, journal, prompt cache, event hub, drain
