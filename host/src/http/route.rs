//! Which workload answers a request: by host name, then by the longest path prefix.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    name::WorkloadName,
    workload::{Workload, spec::Route},
};

/// Two workloads that would answer the same requests.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "workloads `{first}` and `{second}` both answer {}`{path}`; expected one for each host and path; \
     give one of them another `http.hosts` or `http.path`",
    host.as_ref().map(|host| format!("`{host}` at ")).unwrap_or_default()
)]
pub struct RouteError {
    /// One of them.
    pub first: WorkloadName,
    /// The other.
    pub second: WorkloadName,
    /// The host that both name; none if both answer every host.
    pub host: Option<String>,
    /// The path that both name.
    pub path: String,
}

/// A table of routes, made once for a set of workloads.
#[derive(Debug)]
pub struct Router<T = Workload> {
    by_host: HashMap<String, Vec<Entry<T>>>,
    any_host: Vec<Entry<T>>,
    targets: Vec<Arc<T>>,
}

#[derive(Debug)]
struct Entry<T> {
    /// Without a slash at its end: the root is empty.
    path: String,
    name: WorkloadName,
    target: Arc<T>,
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        Self { by_host: HashMap::new(), any_host: Vec::new(), targets: Vec::new() }
    }
}

impl Router {
    /// The table for some workloads; those without a route are not in it.
    pub fn new(workloads: impl IntoIterator<Item = Arc<Workload>>) -> Result<Self, RouteError> {
        let mut router = Self::default();
        for workload in workloads {
            if let Some(route) = &workload.spec().http {
                router.add(workload.name(), route, &workload)?;
            }
        }
        Ok(router)
    }
}

impl<T> Router<T> {
    fn add(
        &mut self,
        name: &WorkloadName,
        route: &Route,
        target: &Arc<T>,
    ) -> Result<(), RouteError> {
        let path = route.path.trim_end_matches('/');
        self.targets.push(Arc::clone(target));
        if route.hosts.is_empty() {
            return insert(&mut self.any_host, None, path, name, target);
        }
        for host in &route.hosts {
            let host = host.to_ascii_lowercase();
            let entries = self.by_host.entry(host.clone()).or_default();
            insert(entries, Some(host), path, name, target)?;
        }
        Ok(())
    }

    /// The workload that answers a path on a host, which is in lower case and without its port.
    /// A workload that names the host comes before one that answers every host.
    pub fn find(&self, host: &str, path: &str) -> Option<&Arc<T>> {
        let named = self.by_host.get(host).map(Vec::as_slice).unwrap_or_default();
        [named, &self.any_host]
            .into_iter()
            .find_map(|entries| entries.iter().find(|entry| is_below(path, &entry.path)))
            .map(|entry| &entry.target)
    }

    /// Every workload in the table.
    pub fn targets(&self) -> &[Arc<T>] {
        &self.targets
    }
}

/// Keeps the longest paths first, so that the first match is the longest.
fn insert<T>(
    entries: &mut Vec<Entry<T>>,
    host: Option<String>,
    path: &str,
    name: &WorkloadName,
    target: &Arc<T>,
) -> Result<(), RouteError> {
    if let Some(other) = entries.iter().find(|entry| entry.path == path) {
        return Err(RouteError {
            first: other.name.clone(),
            second: name.clone(),
            host,
            path: if path.is_empty() { "/".to_owned() } else { path.to_owned() },
        });
    }
    let place = entries.partition_point(|entry| entry.path.len() >= path.len());
    entries.insert(
        place,
        Entry { path: path.to_owned(), name: name.clone(), target: Arc::clone(target) },
    );
    Ok(())
}

fn is_below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        || prefix.is_empty()
}

/// The table that a running server looks into, replaced as workloads come and go.
#[derive(Debug, Clone, Default)]
pub struct Routes(Arc<RwLock<Arc<Router>>>);

impl Routes {
    /// Begins with a table.
    pub fn new(router: Router) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(router))))
    }

    /// Replaces the table. Requests that have begun go on where they are.
    pub fn replace(&self, router: Router) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(router);
    }

    /// The table of now.
    pub fn current(&self) -> Arc<Router> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl From<Router> for Routes {
    fn from(router: Router) -> Self {
        Self::new(router)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(
        router: &mut Router<&'static str>,
        name: &'static str,
        hosts: &[&str],
        path: &str,
    ) -> Result<(), RouteError> {
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        let route = Route { hosts, path: path.to_owned() };
        router.add(&name.parse().unwrap(), &route, &Arc::new(name))
    }

    fn find(router: &Router<&'static str>, host: &str, path: &str) -> Option<&'static str> {
        router.find(host, path).map(|target| **target)
    }

    #[test]
    fn a_named_host_comes_first_and_then_the_longest_whole_segments() {
        let mut router = Router::default();
        add(&mut router, "root", &[], "/").unwrap();
        add(&mut router, "api", &[], "/api").unwrap();
        add(&mut router, "api-v2", &[], "/api/v2/").unwrap();
        add(&mut router, "shop", &["Shop.example", "www.shop.example"], "/buy").unwrap();
        assert_eq!(find(&router, "x", "/"), Some("root"));
        assert_eq!(find(&router, "x", "/api"), Some("api"));
        assert_eq!(find(&router, "x", "/apis"), Some("root"));
        assert_eq!(find(&router, "x", "/api/v2"), Some("api-v2"));
        assert_eq!(find(&router, "x", "/api/v2/a"), Some("api-v2"));
        assert_eq!(find(&router, "x", "/api/v22"), Some("api"));
        assert_eq!(find(&router, "shop.example", "/buy/1"), Some("shop"));
        assert_eq!(find(&router, "www.shop.example", "/buy"), Some("shop"));
        assert_eq!(find(&router, "shop.example", "/api"), Some("api"));
        assert_eq!(find(&router, "x", "*"), Some("root"));
    }

    #[test]
    fn nothing_answers_where_no_prefix_fits() {
        let mut router = Router::default();
        add(&mut router, "api", &["a.example"], "/api").unwrap();
        assert_eq!(find(&router, "a.example", "/"), None);
        assert_eq!(find(&router, "b.example", "/api"), None);
    }

    #[test]
    fn a_conflict_names_both_workloads_and_what_they_share() {
        let mut router = Router::default();
        add(&mut router, "one", &["a.example"], "/x").unwrap();
        let error =
            add(&mut router, "two", &["b.example", "a.example"], "/x/").unwrap_err().to_string();
        for part in ["`one`", "`two`", "`a.example`", "`/x`", "http.path"] {
            assert!(error.contains(part), "{error}");
        }
        add(&mut router, "three", &[], "/").unwrap();
        let error = add(&mut router, "four", &[], "/").unwrap_err().to_string();
        assert!(error.contains("both answer `/`"), "{error}");
    }
}
