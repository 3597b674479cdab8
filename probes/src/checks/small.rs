//! What a device that is too small is known to break.
//!
//! A path is its consequence if it was measured to carry just what the device takes: another hole on the way has another
//! cause, and must not hide. A veth or a bridge's port lets a VLAN tag's bytes more through than its MTU says. Paths
//! through tunnels are named whatever they carry: the same hole cuts them at a size of their own.

use crate::overhead::VLAN_HLEN;
use crate::path::{PathKey, Plane, Verdict};
use crate::snapshot::{Path, Snapshot};
use crate::subject::Subject;
use crate::units::IpSize;

/// The paths among those `behind` a device of this MTU that it is known to break.
pub(super) fn breaks(node: &Snapshot, mtu: IpSize, behind: impl Fn(&PathKey) -> bool) -> Vec<Subject> {
    let cut = |(key, path): &(&PathKey, &Path)| match key.plane {
        Plane::Underlay => carries_just(path, mtu),
        Plane::Overlay => true,
        Plane::Pod => false,
    };
    let behind = node.paths.iter().filter(|(key, _)| behind(key));
    behind.filter(cut).map(|(key, _)| Subject::path(key)).collect()
}

fn carries_just(path: &Path, mtu: IpSize) -> bool {
    match path.verdict() {
        Ok(Verdict::Limited { mtu: carries, .. } | Verdict::BlackHole { carries, .. }) => {
            (mtu..=mtu.plus(VLAN_HLEN)).contains(carries)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::example::{Example, black_hole};

    #[test]
    fn a_hole_of_another_size_has_another_cause() {
        let broken = |carries| {
            let node = Example::reference().verdict("master-2", Plane::Underlay, black_hole(carries)).snapshot();
            let behind = |key: &PathKey| key.peer == "master-2";
            let all = breaks(&node, IpSize::new(1400), behind);
            all.iter().any(|subject| matches!(subject, Subject::Path { plane: Plane::Underlay, .. }))
        };
        assert!(broken(1400) && broken(1404));
        assert!(!broken(1399) && !broken(1405));
    }

    #[test]
    fn only_what_lies_behind_the_device_is_broken_by_it() {
        let node = Example::reference().verdict("master-3", Plane::Underlay, black_hole(1400)).snapshot();
        let subjects = breaks(&node, IpSize::new(1400), |key| key.peer == "master-2");
        let peers: Vec<_> = subjects.iter().map(ToString::to_string).collect();
        assert_eq!(peers, ["master-2"], "its tunnel, and nothing of master-3");
    }
}
