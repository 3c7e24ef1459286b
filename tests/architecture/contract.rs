//! The contract may grow and must not change: what the golden descriptors promise
//! (`proto/golden/contract.binpb`) must still be there, with the same numbers and
//! types. `buf breaking` says the same in more detail; this needs no npm and also
//! runs where only Rust is.

use std::{fs, io, path::Path};

use prost::Message;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    ServiceDescriptorProto,
};

/// What was promised.
pub fn golden(top: &Path) -> io::Result<FileDescriptorSet> {
    let bytes = fs::read(top.join("proto/golden/contract.binpb"))?;
    FileDescriptorSet::decode(bytes.as_slice()).map_err(io::Error::other)
}

/// What this build speaks and writes: the services and the journal's messages.
pub fn compiled() -> FileDescriptorSet {
    let parts: [&[u8]; 2] = [
        include_bytes!(concat!(env!("OUT_DIR"), "/contract.binpb")),
        include_bytes!(concat!(env!("OUT_DIR"), "/records.binpb")),
    ];
    let mut file = Vec::new();
    for part in parts {
        file.extend(FileDescriptorSet::decode(part).expect("the build wrote a descriptor set").file);
    }
    FileDescriptorSet { file }
}

/// Every promise of `golden` that `current` breaks, as sentences.
pub fn compare(golden: &FileDescriptorSet, current: &FileDescriptorSet) -> Vec<String> {
    let mut broken = Broken(Vec::new());
    for file in &golden.file {
        match current.file.iter().find(|other| other.name() == file.name()) {
            Some(other) => broken.file(file, other),
            None => broken.say(file.name(), "the file is gone"),
        }
    }
    broken.0
}

struct Broken(Vec<String>);

impl Broken {
    fn say(&mut self, place: &str, what: impl AsRef<str>) {
        self.0.push(format!("{place}: {}", what.as_ref()));
    }

    fn file(&mut self, golden: &FileDescriptorProto, current: &FileDescriptorProto) {
        let package = golden.package();
        if package != current.package() {
            self.say(golden.name(), format!("the package was {package}"));
        }
        self.messages(package, &golden.message_type, &current.message_type);
        self.enums(package, &golden.enum_type, &current.enum_type);
        for service in &golden.service {
            let place = format!("{package}.{}", service.name());
            match current.service.iter().find(|other| other.name() == service.name()) {
                Some(other) => self.service(&place, service, other),
                None => self.say(&place, "the service is gone"),
            }
        }
    }

    fn messages(&mut self, scope: &str, golden: &[DescriptorProto], current: &[DescriptorProto]) {
        for message in golden {
            let place = format!("{scope}.{}", message.name());
            let Some(other) = current.iter().find(|other| other.name() == message.name()) else {
                self.say(&place, "the message is gone");
                continue;
            };
            for field in &message.field {
                match other.field.iter().find(|candidate| candidate.number() == field.number()) {
                    Some(now) => self.field(&place, (message, field), (other, now)),
                    None => self.say(&place, format!("field {} = {} is gone", field.name(), field.number())),
                }
            }
            self.messages(&place, &message.nested_type, &other.nested_type);
            self.enums(&place, &message.enum_type, &other.enum_type);
        }
    }

    fn field(
        &mut self,
        place: &str,
        (was_in, was): (&DescriptorProto, &FieldDescriptorProto),
        (is_in, is): (&DescriptorProto, &FieldDescriptorProto),
    ) {
        let number = was.number();
        if was.name() != is.name() {
            self.say(place, format!("field {number} was {} and is {}", was.name(), is.name()));
        }
        let shape =
            |field: &FieldDescriptorProto| (field.r#type(), field.type_name().to_owned(), field.label());
        if shape(was) != shape(is) {
            let text = format!("field {number} ({}) was {:?} and is {:?}", was.name(), shape(was), shape(is));
            self.say(place, text);
        }
        let presence = |message: &DescriptorProto, field: &FieldDescriptorProto| {
            let oneof = field
                .oneof_index
                .and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?).cloned());
            (oneof.map(|oneof| oneof.name().to_owned()), field.proto3_optional())
        };
        if presence(was_in, was) != presence(is_in, is) {
            self.say(place, format!("field {number} ({}) changed its oneof", was.name()));
        }
    }

    fn enums(&mut self, scope: &str, golden: &[EnumDescriptorProto], current: &[EnumDescriptorProto]) {
        for one in golden {
            let place = format!("{scope}.{}", one.name());
            let Some(other) = current.iter().find(|other| other.name() == one.name()) else {
                self.say(&place, "the enum is gone");
                continue;
            };
            for value in &one.value {
                let kept = other.value.iter().find(|now| now.number() == value.number());
                if kept.is_none_or(|now| now.name() != value.name()) {
                    self.say(&place, format!("value {} = {} is gone", value.name(), value.number()));
                }
            }
        }
    }

    fn service(&mut self, place: &str, golden: &ServiceDescriptorProto, current: &ServiceDescriptorProto) {
        for method in &golden.method {
            let Some(other) = current.method.iter().find(|other| other.name() == method.name()) else {
                self.say(place, format!("the method {} is gone", method.name()));
                continue;
            };
            let same = method.input_type() == other.input_type()
                && method.output_type() == other.output_type()
                && method.client_streaming() == other.client_streaming()
                && method.server_streaming() == other.server_streaming();
            if !same {
                self.say(place, format!("the method {} takes or answers something else", method.name()));
            }
        }
    }
}
