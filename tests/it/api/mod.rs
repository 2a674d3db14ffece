//! What a client sees of one node.

mod smoke;
