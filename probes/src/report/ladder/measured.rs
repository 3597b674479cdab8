//! The rung of measured paths: the worst of them speaks for all.

use crate::overhead::likely_device_mtu;
use crate::path::{Plane, VerdictName};
use crate::report::PathRow;
use crate::units::{IpSize, LinkMtu};

use super::bound::Bound;
use super::{Fit, Layer, Rung};

/// The rung of some paths, at least one. `takes` is what the link that they leave by takes, `room` the smallest
/// size of all below where something there is broken.
pub(super) fn rung(layer: Layer, paths: &[&PathRow], takes: Option<&Bound>, room: Option<&Bound>) -> Rung {
    let sized: Vec<(&PathRow, IpSize)> = paths.iter().filter_map(|path| Some((*path, path.path_mtu?))).collect();
    let Some(&(worst, mtu)) = sized.iter().min_by_key(|(path, mtu)| (short(path) == 0, *mtu)) else {
        return unmeasured(layer, paths, takes);
    };
    let mut rung = Rung::new(layer, &worst.peer);
    rung.count = paths.len();
    rung.share = sized.iter().filter(|(_, other)| *other == mtu).count();
    (rung.mtu, rung.available) = (Some(mtu), takes.map(|bound| bound.size));
    let unsized_paths = paths.len() - sized.len();
    let mut why = Vec::new();
    if short(worst) > 0 {
        rung.verdict = Fit::Break;
        rung.follows = room.is_some_and(|room| Some(room.size) < worst.expected_mtu && room.size <= mtu);
        why.push(shortfall(worst));
        why.extend(device(worst).map(|mtu| format!("most likely a device with an MTU of {mtu}")));
    } else if unsized_paths > 0 {
        rung.verdict = Fit::Unknown;
    } else if takes.is_some_and(|bound| mtu < bound.size) {
        why.push("no more is expected of it".to_owned());
    }
    if unsized_paths > 0 {
        why.push(format!("no size known for {unsized_paths} of {}", paths.len()));
    }
    rung.why = (!why.is_empty()).then(|| why.join("; "));
    rung
}

/// The smallest size measured.
pub(super) fn narrowest(paths: &[&PathRow]) -> Option<Bound> {
    let sized = paths.iter().filter_map(|path| Some((path.path_mtu?, path)));
    let (mtu, path) = sized.min_by_key(|(mtu, _)| *mtu)?;
    Some(match device(path) {
        Some(device) => Bound::new(device.carries(), format!("the path to {} is good for", path.peer)),
        None => Bound::new(mtu, format!("the path to {} carries", path.peer)),
    })
}

/// Whether each of the paths has a size.
pub(super) fn whole(paths: &[&PathRow]) -> bool {
    paths.iter().all(|path| path.path_mtu.is_some())
}

fn unmeasured(layer: Layer, paths: &[&PathRow], takes: Option<&Bound>) -> Rung {
    let first = paths.first().expect("a rung stands for at least one path");
    let mut rung = Rung::new(layer, &first.peer);
    (rung.count, rung.share) = (paths.len(), paths.len());
    (rung.verdict, rung.available) = (Fit::Unknown, takes.map(|bound| bound.size));
    let one_reason = first.why.as_deref().filter(|why| paths.iter().all(|path| path.why.as_deref() == Some(why)));
    rung.why = Some(if paths.iter().all(|path| path.verdict == VerdictName::Unreachable) {
        "nothing answers".to_owned()
    } else {
        format!("not measured: {}", one_reason.unwrap_or("for several reasons"))
    });
    rung
}

/// The device MTU that a silent loss between node addresses points to: veth and bridge let four bytes more through,
/// and nothing may be built on those.
fn device(path: &PathRow) -> Option<LinkMtu> {
    let silent = path.plane == Plane::Underlay && path.verdict == VerdictName::BlackHole;
    path.path_mtu.filter(|_| silent).and_then(likely_device_mtu)
}

/// Bytes that a path carries less than it should.
fn short(path: &PathRow) -> u32 {
    let expected = path.expected_mtu.map_or(0, IpSize::bytes);
    path.path_mtu.map_or(0, |mtu| expected.saturating_sub(mtu.bytes()))
}

fn shortfall(path: &PathRow) -> String {
    let by = path.limited_by.map(|limit| limit.address.map_or("this machine".to_owned(), |hop| hop.to_string()));
    let who = match (path.verdict, by) {
        (VerdictName::BlackHole, _) => ", and nobody says so".to_owned(),
        (_, Some(by)) => format!(": {by} says so"),
        (_, None) => String::new(),
    };
    let expected = path.expected_mtu.map(|mtu| mtu.to_string()).unwrap_or_default();
    format!("{} short of {expected}{who}", short(path))
}
