//! Judgements: which process grows, which site leaks
