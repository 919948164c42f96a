//! What a component exports, in the types that the link step compares.

use wasmtime::{
    Engine,
    component::{Component, ComponentExportIndex, ResourceType, types::ComponentItem},
};

use super::types::{FunctionType, ResourceName, Unsupported};
use crate::name::InterfaceName;

/// An interface that a component exports.
#[derive(Clone)]
pub struct ExportedInterface {
    /// Its name.
    pub name: InterfaceName,
    /// Its functions.
    pub functions: Vec<ExportedFunction>,
}

/// A function of an interface that a component exports.
#[derive(Clone)]
pub struct ExportedFunction {
    /// Its name in the component model.
    pub name: String,
    /// Its type, or why it has none that can be compared.
    pub ty: Result<FunctionType, Unsupported>,
    /// Its place in the component.
    pub index: ComponentExportIndex,
}

/// The interfaces that `component` exports. What it exports besides is not called by name and version.
pub fn exports(engine: &Engine, component: &Component) -> Vec<ExportedInterface> {
    let known = imported_resources(engine, component);
    let resource = |ty: &ResourceType| {
        let name = known.iter().find(|(known, _)| known == ty).map(|(_, name)| name.clone());
        name.unwrap_or(ResourceName { interface: None, name: "a resource of its own".to_owned() })
    };
    let ty = component.component_type();
    let interfaces = ty.exports(engine).filter_map(|(name, item)| {
        let ComponentItem::ComponentInstance(instance) = item.ty else { return None };
        let place = component.get_export_index(None, name)?;
        let functions = instance.exports(engine).filter_map(|(function, item)| {
            let ComponentItem::ComponentFunc(ty) = item.ty else { return None };
            Some(ExportedFunction {
                name: function.to_owned(),
                ty: FunctionType::from_runtime(&ty, &resource),
                index: component.get_export_index(Some(&place), function)?,
            })
        });
        Some(ExportedInterface { name: name.parse().ok()?, functions: functions.collect() })
    });
    interfaces.collect()
}

/// The resource types that a component imports, each by the interface that defines it.
fn imported_resources(engine: &Engine, component: &Component) -> Vec<(ResourceType, ResourceName)> {
    let mut known: Vec<(ResourceType, ResourceName)> = Vec::new();
    for (name, item) in component.component_type().imports(engine) {
        let interface = item.implements.unwrap_or(name).parse::<InterfaceName>().ok();
        let (Some(interface), ComponentItem::ComponentInstance(instance)) = (interface, &item.ty)
        else {
            continue;
        };
        for (name, item) in instance.exports(engine) {
            let ComponentItem::Resource(ty) = item.ty else { continue };
            // The first that has it defines it, the others use it.
            if known.iter().all(|(known, _)| *known != ty) {
                let interface = Some(interface.clone());
                known.push((ty, ResourceName { interface, name: name.to_owned() }));
            }
        }
    }
    known
}
