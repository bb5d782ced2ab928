//! CPU operators with hand-written gradients for candle.
