//! The catalogue on a real kernel: every scenario beside the checks, on every recipe that has its things.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use lab::harness::{self, test};
use lab::scenario::{Remedy, Scenario};
use lab::{Error, Result, matrix, play, recipe, scenario};
use libtest_mimic::Trial;

fn main() -> ExitCode {
    let code = harness::main(tests);
    let written = scenario::all().and_then(|all| matrix::write(&rows(&all)));
    match written {
        Ok(()) => code,
        Err(error) => {
            harness::report(&error.to_string());
            ExitCode::FAILURE
        }
    }
}

fn tests() -> Vec<Trial> {
    let mut tests = vec![
        test("every code has a scenario", every_code_has_a_scenario),
        test("every remedy is proven, or it is said why not", every_remedy_is_proven),
    ];
    tests.extend(
        recipe::every()
            .map(|recipe| test(format!("nothing is found on {}", recipe.name), move || play::stay_healthy(recipe))),
    );
    match scenario::all() {
        Ok(all) => {
            let rows = rows(&all);
            tests.push(test("the matrix has a row for every play", move || matrix::is_complete(&rows)));
            let reasons = reasons(&all);
            tests.push(test("one cause is one loud code", move || matrix::has_one_cause_a_row(&reasons)));
            // Sweeps take minutes: those plays first, or the rest waits for the last of them.
            let (long, short): (Vec<_>, Vec<_>) = all.into_iter().partition(play::is_swept);
            tests.extend(long.into_iter().chain(short).flat_map(plays));
        }
        Err(error) => tests.push(test("the scenarios can be read", || Err(error))),
    }
    tests
}

fn rows(all: &[Scenario]) -> BTreeSet<String> {
    let broken = all.iter().flat_map(|scenario| scenario.recipes().into_iter().map(|recipe| scenario.name(&recipe)));
    broken.chain(recipe::every().map(|recipe| matrix::healthy(&recipe))).collect()
}

/// Why each row has several loud codes, where it has.
fn reasons(all: &[Scenario]) -> BTreeMap<String, Option<String>> {
    let mut reasons = BTreeMap::new();
    for scenario in all {
        for recipe in scenario.recipes() {
            reasons.insert(scenario.name(&recipe), scenario.several_on(&recipe).map(str::to_owned));
        }
    }
    reasons
}

fn plays(scenario: Scenario) -> Vec<Trial> {
    let one = |recipe| {
        let scenario = scenario.clone();
        test(scenario.name(&recipe), move || play::play(&scenario, recipe))
    };
    scenario.recipes().into_iter().map(one).collect()
}

/// Codes whose fault cannot be made in a namespace, and what proves them instead.
const PROVEN_ELSEWHERE: [(&str, &str); 3] = [
    // No namespace has a NIC that is hardware to the kernel, and this machine may have few processors.
    ("nic-single-queue", "answers of virtio_net and vmxnet3 in a virtual machine, probes/src/kernel/golden/devices"),
    // Peers are late after minutes at the least, which are passed in to whole rounds there.
    ("coverage-late", "rounds that overrun for each of the reasons, probes/src/node/tests/coverage"),
    // It takes ten minutes of silence, which are passed in to whole rounds there.
    ("peer-source-stale", "an outage over whole rounds, probes/src/node/tests/announced, and tests/discovery"),
];

/// How the remedy of every code is proven: by how many plays in the lab, or why by none. Without this list, a scenario that
/// gives up its remedy would go unseen.
const REMEDIES: &str = include_str!("remedies.txt");

fn every_remedy_is_proven() -> Result<()> {
    let all = scenario::all()?;
    let told: String = probes::checks::ALL.iter().map(|check| proof(check.entry.code, &all) + "\n").collect();
    if told == REMEDIES {
        return Ok(());
    }
    let file = "tests/remedies.txt";
    Err(Error::new(format!("comparing with {file}"), format!("it should say\n{told}"))
        .check("if the change is meant, write it there and say why in the commit"))
}

fn proof(code: &str, all: &[Scenario]) -> String {
    let of_code: Vec<_> = all.iter().filter(|scenario| scenario.code == code).collect();
    let mended =
        |scenario: &&Scenario| scenario.recipes().iter().filter(|recipe| scenario.is_mended_on(recipe)).count();
    let applied: usize = of_code.iter().map(mended).sum();
    let given = of_code.iter().filter_map(|scenario| match &scenario.remedy {
        Remedy::Applied => None,
        Remedy::Clears(why) => Some(format!("clears: {why}")),
        Remedy::Elsewhere(why) => Some(format!("elsewhere: {why}")),
    });
    let elsewhere = PROVEN_ELSEWHERE.iter().filter(|(proven, _)| *proven == code);
    let elsewhere = elsewhere.map(|(_, by)| format!("elsewhere: its text alone; the code by {by}"));
    let reasons: BTreeSet<_> = given.chain(elsewhere).collect();
    let plays = (applied > 0).then(|| format!("applied in {applied} plays"));
    format!("{code}\n{}", plays.into_iter().chain(reasons).map(|line| format!("  {line}\n")).collect::<String>())
}

fn every_code_has_a_scenario() -> Result<()> {
    let all = scenario::all()?;
    let bare: Vec<_> = probes::checks::ALL
        .iter()
        .map(|check| check.entry.code)
        .filter(|code| !all.iter().any(|scenario| scenario.code == *code))
        .filter(|code| !PROVEN_ELSEWHERE.iter().any(|(proven, _)| proven == code))
        .collect();
    let unknown: Vec<_> =
        all.iter().map(|scenario| &scenario.code).filter(|code| probes::checks::by_code(code).is_none()).collect();
    if bare.is_empty() && unknown.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        "walking the catalogue",
        format!("codes without a scenario: {bare:?}; scenarios whose code is not in the catalogue: {unknown:?}"),
    ))
}
