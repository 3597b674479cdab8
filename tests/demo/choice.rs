//! What to break, and where: the scenarios that the tests play, by name.

use std::fmt::Write as _;

use lab::recipe::{self, Recipe};
use lab::scenario::{self, Agents, Scenario};
use lab::{Error, Result};

/// A cluster, and what to break in it.
pub(crate) struct Choice {
    pub(crate) recipe: Recipe,
    pub(crate) scenario: Option<Scenario>,
    /// Whether agents reach each other. Where nothing is to be found but what the scenario says, they may not have to.
    pub(crate) together: bool,
}

impl Choice {
    /// The choice that these names stand for.
    ///
    /// # Errors
    /// If there is no such fault or cluster, or one cannot be made on the other; with those that there are.
    pub(crate) fn of(fault: Option<&str>, cluster: Option<&str>) -> Result<Self> {
        let cluster = cluster.map(recipe_named).transpose()?;
        let Some(fault) = fault else {
            let recipe = cluster.unwrap_or(recipe::REFERENCE);
            return Ok(Self { recipe, scenario: None, together: true });
        };
        let scenario = scenario_named(fault)?;
        let fitting = scenario.recipes();
        let wanted = |recipe: &&Recipe| cluster.is_none_or(|cluster| cluster.name == recipe.name);
        let recipe = fitting.iter().find(wanted).ok_or_else(|| {
            Error::new(format!("choosing a cluster for `{fault}`"), "that one has not all that the fault needs")
                .check(format!("clusters that have: {}", names(&fitting)))
        })?;
        let together = matches!(scenario.agents, Agents::All | Agents::Asking);
        Ok(Self { recipe: *recipe, scenario: Some(scenario), together })
    }
}

fn recipe_named(name: &str) -> Result<Recipe> {
    recipe::every().find(|recipe| recipe.name == name).ok_or_else(|| {
        Error::new(format!("choosing the cluster `{name}`"), "there is none of that name")
            .check(format!("clusters: {}", names(&recipe::every().collect::<Vec<_>>())))
    })
}

fn scenario_named(name: &str) -> Result<Scenario> {
    let all = scenario::named()?;
    let known = all.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let found = all.into_iter().find(|(known, _)| known == name).map(|(_, scenario)| scenario);
    found.ok_or_else(|| {
        Error::new(format!("choosing the fault `{name}`"), "there is none of that name")
            .check(format!("--list tells what each does; faults: {known}"))
    })
}

fn names(recipes: &[Recipe]) -> String {
    recipes.iter().map(|recipe| recipe.name).collect::<Vec<_>>().join(", ")
}

/// Every fault and every cluster, for people.
///
/// # Errors
/// If the scenarios cannot be read.
pub(crate) fn list() -> Result<String> {
    let all = scenario::named()?;
    let width = all.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    let mut text = String::from("Faults, and the clusters that they can be made on:\n");
    for (name, scenario) in &all {
        let _ = writeln!(text, "  {name:width$}  {} ({})", scenario.title, names(&scenario.recipes()));
    }
    text += "\nClusters:\n";
    for recipe in recipe::every() {
        let _ = writeln!(text, "  {:width$}  {}", recipe.name, recipe.nodes.join(", "));
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_brings_a_cluster_that_it_can_be_made_on() {
        let chosen = |fault, cluster| Choice::of(fault, cluster).map(|choice| choice.recipe.name);
        assert_eq!(chosen(None, None).unwrap(), "reference");
        assert_eq!(chosen(Some("path-limited"), None).unwrap(), "routed", "it takes a router");
        assert_eq!(chosen(Some("path-black-hole"), Some("jumbo")).unwrap(), "jumbo");
    }

    #[test]
    fn what_cannot_be_had_is_refused_with_what_can() {
        for (fault, cluster, says) in [
            (Some("path-blackhole"), None, "path-black-hole/2"),
            (Some("path-limited"), Some("reference"), "clusters that have: routed"),
            (None, Some("refrence"), "clusters: reference, "),
        ] {
            let error = Choice::of(fault, cluster).err().unwrap().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn the_list_names_every_scenario() {
        let list = list().unwrap();
        for (name, Scenario { title, .. }) in scenario::named().unwrap() {
            assert!(list.lines().any(|line| line.contains(&name) && line.contains(&title)), "{name}: {list}");
        }
    }
}
