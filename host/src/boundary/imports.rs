//! What a component imports, in the types that the link step compares.

use std::{cell::RefCell, fmt};

use wasmtime::{
    Engine,
    component::{Component, ResourceType, types::ComponentItem},
};

use super::types::{FunctionType, ResourceName, Unsupported};
use crate::name::InterfaceName;

/// An interface that a component imports.
#[derive(Debug, Clone)]
pub struct Import {
    /// The import's name in the component: the interface's, or another where the component imports
    /// the interface under a name of its own (`(implements ...)`).
    pub name: String,
    /// The interface.
    pub interface: InterfaceName,
    /// Its functions that the component uses.
    pub functions: Vec<(String, FunctionType)>,
    /// The names of the resource types that this import has to define. A type that the interface
    /// merely uses from another is not among them.
    pub resources: Vec<String>,
    /// The resource types that the interface uses from another import.
    pub used_resources: Vec<UsedResource>,
}

/// A resource type that an import uses from another. Two imports of one interface define two types, though
/// their [`ResourceName`]s are the same.
#[derive(Debug, Clone)]
pub struct UsedResource {
    /// The name of the import that defines it.
    pub import: String,
    /// The type.
    pub resource: ResourceName,
}

impl Import {
    /// Whether the component imports the interface under a name of its own.
    pub fn is_named(&self) -> bool {
        self.name != self.interface.to_string()
    }

    /// The key of a link that chooses this import, with its value.
    pub fn link_key(&self) -> String {
        let key = if self.is_named() { "named" } else { "target" };
        format!("{key} = \"{}\"", self.name)
    }
}

/// The interface, after the import's own name where it has one, as WIT writes it.
impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_named() {
            write!(f, "{}: ", self.name)?;
        }
        self.interface.fmt(f)
    }
}

/// An import that the host cannot link whatever provides it.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// Something other than an interface.
    #[error(
        "the component imports `{name}`, {what}; expected only interfaces. Build it against a WIT world whose imports are interfaces"
    )]
    NotAnInterface {
        /// The import's name.
        name: String,
        /// What it is.
        what: &'static str,
    },
    /// A function with a type that the host cannot carry.
    #[error(
        "`{interface}#{function}` uses {unsupported}, which this host does not carry between a component and a provider yet"
    )]
    Unsupported {
        /// The interface.
        interface: String,
        /// The function.
        function: String,
        /// The type.
        unsupported: Unsupported,
    },
}

/// The interfaces that `component` imports, except those for which `skip` holds (the host's own).
///
/// # Errors
///
/// [`ImportError`] when an import is no interface, or its types nest too deeply.
pub fn imports(
    engine: &Engine,
    component: &Component,
    skip: impl Fn(&InterfaceName) -> bool,
) -> Result<Vec<Import>, ImportError> {
    let ty = component.component_type();
    // Types first: a function may come before the resource that it uses, never before its import.
    let known: RefCell<Vec<(ResourceType, UsedResource)>> = RefCell::default();
    let mut imports = Vec::new();
    for (name, item) in ty.imports(engine) {
        let interface = item.implements.unwrap_or(name).parse::<InterfaceName>().ok();
        let (Some(interface), ComponentItem::ComponentInstance(instance)) = (interface, &item.ty)
        else {
            return Err(ImportError::NotAnInterface {
                name: name.to_owned(),
                what: kind(&item.ty),
            });
        };
        let mut import = Import {
            name: name.to_owned(),
            interface,
            functions: Vec::new(),
            resources: Vec::new(),
            used_resources: Vec::new(),
        };
        for (name, item) in instance.exports(engine) {
            let ComponentItem::Resource(ty) = item.ty else { continue };
            let mut known = known.borrow_mut();
            if let Some((_, owner)) = known.iter().find(|(known, _)| *known == ty) {
                import.used_resources.push(owner.clone());
            } else {
                let interface = Some(import.interface.clone());
                let resource = ResourceName { interface, name: name.to_owned() };
                known.push((ty, UsedResource { import: import.name.clone(), resource }));
                import.resources.push(name.to_owned());
            }
        }
        if skip(&import.interface) {
            continue;
        }
        let resource = |ty: &ResourceType| {
            let known = known.borrow();
            let owner = known.iter().find(|(known, _)| known == ty);
            owner.map(|(_, owner)| owner.resource.clone()).unwrap_or(ResourceName {
                interface: None,
                name: "a resource of the component".to_owned(),
            })
        };
        for (function, item) in instance.exports(engine) {
            let ComponentItem::ComponentFunc(ty) = item.ty else { continue };
            let ty =
                FunctionType::from_runtime(&ty, &resource).and_then(|ty| match ty.unsupported() {
                    Some(unsupported) => Err(unsupported),
                    None => Ok(ty),
                });
            match ty {
                Ok(ty) => import.functions.push((function.to_owned(), ty)),
                Err(unsupported) => {
                    return Err(ImportError::Unsupported {
                        interface: import.to_string(),
                        function: function.to_owned(),
                        unsupported,
                    });
                }
            }
        }
        imports.push(import);
    }
    Ok(imports)
}

fn kind(item: &ComponentItem) -> &'static str {
    match item {
        ComponentItem::ComponentFunc(_) => "a function that belongs to no interface",
        ComponentItem::CoreFunc(_) => "a core function",
        ComponentItem::Module(_) => "a core module",
        ComponentItem::Component(_) => "a component",
        ComponentItem::ComponentInstance(_) => "an instance whose name is not an interface's",
        ComponentItem::Type(_) => "a type",
        ComponentItem::Resource(_) => "a resource type that belongs to no interface",
    }
}
