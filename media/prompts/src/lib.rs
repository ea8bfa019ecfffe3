//! Audio files to encoded prompts: decode, resample, normalise, encode
