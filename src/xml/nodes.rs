//! The content of an element in memory.

use std::ops::Deref;

use crate::Node;

/// Nodes that are not changed any more. A single one, the text of most elements, is held in place.
#[derive(Debug)]
pub(crate) enum Nodes {
    One(Node),
    Many(Box<[Node]>),
}

impl Default for Nodes {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl Nodes {
    /// Takes the nodes from `first` on off the end of `nodes`.
    pub(crate) fn split_off(nodes: &mut Vec<Node>, first: usize) -> Self {
        match nodes.len().saturating_sub(first) {
            0 => Self::default(),
            1 => nodes.pop().map_or_else(Self::default, Self::One),
            _ => Self::Many(nodes.drain(first..).collect()),
        }
    }
}

impl From<Vec<Node>> for Nodes {
    fn from(mut nodes: Vec<Node>) -> Self {
        if nodes.len() == 1 { Self::split_off(&mut nodes, 0) } else { Self::Many(nodes.into()) }
    }
}

impl Deref for Nodes {
    type Target = [Node];

    fn deref(&self) -> &[Node] {
        match self {
            Self::One(node) => std::slice::from_ref(node),
            Self::Many(nodes) => nodes,
        }
    }
}

impl PartialEq for Nodes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Nodes {}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use super::*;

    #[test]
    fn a_single_node_needs_no_memory_of_its_own() {
        let text = |text: &str| Node::Text(text.into());
        for (count, is_one) in [(0, false), (1, true), (2, false)] {
            let all = [text("a"), text("b"), text("c")];
            let mut stack = all.to_vec();
            let nodes = Nodes::split_off(&mut stack, 3 - count);
            assert_eq!((&*nodes, matches!(nodes, Nodes::One(_))), (&all[3 - count..], is_one));
            assert_eq!(stack, all[..3 - count]);
            assert_eq!(nodes, Nodes::from(nodes.to_vec()));
        }
        assert!(matches!(Nodes::from(vec![text("a")]), Nodes::One(_)));
    }
}
