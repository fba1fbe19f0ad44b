//! Journal files made for tests, written from the description of the format and not from the reader.
//!
//! Owns: a file with some entries. Must not know: how it is read.

use std::collections::BTreeMap;

/// A message that is marked as compressed and is not.
pub(crate) const DAMAGED: &str = "damaged";
/// Messages that stand for [`LINE`] and forty times `oom_score_adj:0 `, packed by the programs of these names.
pub(crate) const METHODS: [&str; 3] = ["xz", "lz4", "zstd"];
/// What the packed message begins with.
#[allow(dead_code, reason = "the other crate that takes this file in needs the name of a method only")]
pub(crate) const LINE: &str = "Out of memory: Killed process 7 (a) total-vm:8kB, ";
const XZ: &str = "fd377a585a000000ff12d941020021010c0000008f98419ce002b900535d00269146acd06f74b8a5ce0b01963442e7aa3efb2232180639a4\
                  6d68f196eb7f5f7fe1bcfdb2750b680b1736a715a1a6bfc269824554ddaa6587521a8e76c3556a3d48758f8396fbbe2d80e0bf9c804af81f\
                  a0000000000167ba05000000b80b0dbba8000afc020000000000595a";
const ZSTD: &str = "28b52ffd64ba0195020094044d4553534147453d4f7574206f66206d656d6f72793a204b696c6c65642070726f636573732037202861292074\
                    6f74616c2d766d3a386b422c206f6f6d5f73636f72655f61646a3a300100899ba966146a7a8487";
/// A block out of a file of `lz4`, behind its length as journald writes it.
const LZ4: &str = "ba02000000000000ff3a4d4553534147453d4f7574206f66206d656d6f72793a204b696c6c65642070726f6365737320372028612920746f74\
                   616c2d766d3a386b422c206f6f6d5f73636f72655f61646a3a301000ffff5b50646a3a3020";
/// Items of the first array; later ones are twice as long, as journald makes them.
const ARRAY_FIRST: usize = 2;

/// A file with these entries, each with level, facility (below 3 it comes by way of the kernel's log) and text.
pub(crate) fn file(compact: bool, lines: &[(u8, u8, &str)]) -> Vec<u8> {
    let mut file = File { bytes: vec![0; 272], compact, values: BTreeMap::new() };
    file.bytes[..8].copy_from_slice(b"LPKSHHRH");
    file.bytes[12] = if compact { 0b1_0111 } else { 0b0111 };
    let fields = file.object(5, 0, &[0; 16 * 3]) + 16;
    file.put(120, fields);
    file.put(128, 16 * 3);
    for (number, (level, facility, text)) in lines.iter().enumerate() {
        let transport = if *facility < 3 { "kernel" } else { "journal" };
        let values = [
            format!("_TRANSPORT={transport}"),
            format!("PRIORITY={level}"),
            format!("SYSLOG_FACILITY={facility}"),
            format!("MESSAGE={text}"),
        ];
        let values = values.map(|value| file.value(&value));
        file.entry(number as u64 + 1, &values);
    }
    let of_transport: Vec<u64> = ["journal", "kernel"]
        .iter()
        .filter_map(|name| file.values.get(&format!("_TRANSPORT={name}")).map(|(at, _)| *at))
        .collect();
    if let Some(first) = of_transport.first() {
        // The last bucket, behind another field that has the same hash.
        let transport = file.field(b"_TRANSPORT", *first, 0);
        let other = file.field(b"_HOSTNAME_", 0, transport);
        file.put(fields + 32, other);
        for pair in of_transport.windows(2) {
            file.put(pair[0] + 32, pair[1]);
        }
    }
    file.arrays();
    file.bytes
}

/// The flag of a method and what its program made of the line.
pub(crate) fn packed(method: &str) -> (u8, Vec<u8>) {
    let (flag, digits) = match method {
        "xz" => (1, XZ),
        "lz4" => (2, LZ4),
        _ => (4, ZSTD),
    };
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).expect("digits"));
    (flag, pairs.map(|pair| u8::from_str_radix(pair, 16).expect("digits")).collect())
}

struct File {
    bytes: Vec<u8>,
    compact: bool,
    /// Where each value is, and the entries that have it.
    values: BTreeMap<String, (u64, Vec<u64>)>,
}

impl File {
    fn put(&mut self, at: u64, value: u64) {
        let at = at as usize;
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    fn object(&mut self, kind: u8, flags: u8, content: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.bytes.len() as u64;
        self.bytes.extend([kind, flags, 0, 0, 0, 0, 0, 0]);
        self.bytes.extend((content.len() as u64 + 16).to_le_bytes());
        self.bytes.extend(content);
        at
    }

    fn value(&mut self, value: &str) -> u64 {
        if let Some((at, _)) = self.values.get(value) {
            return *at;
        }
        let head = vec![0; if self.compact { 56 } else { 48 }];
        let message = value.strip_prefix("MESSAGE=").unwrap_or_default();
        let (flags, content) = match message {
            DAMAGED => (4, value.as_bytes().to_vec()),
            method if METHODS.contains(&method) => packed(method),
            _ => (0, value.as_bytes().to_vec()),
        };
        let at = self.object(1, flags, &[head, content].concat());
        self.values.insert(value.to_owned(), (at, Vec::new()));
        at
    }

    fn entry(&mut self, number: u64, values: &[u64]) {
        let mut content = Vec::new();
        for figure in [number, 1_000_000 * number, 500 * number] {
            content.extend(figure.to_le_bytes());
        }
        content.extend([0xab; 16]);
        content.extend([0; 8]);
        for value in values {
            content.extend(self.offset(*value));
            if !self.compact {
                content.extend([0; 8]);
            }
        }
        let at = self.object(3, 0, &content);
        self.values.values_mut().filter(|(value, _)| values.contains(value)).for_each(|(_, entries)| entries.push(at));
    }

    fn offset(&self, offset: u64) -> Vec<u8> {
        let bytes = offset.to_le_bytes();
        bytes[..if self.compact { 4 } else { 8 }].to_vec()
    }

    fn field(&mut self, name: &[u8], first: u64, next: u64) -> u64 {
        let content = [0, next, first].into_iter().flat_map(u64::to_le_bytes);
        let content: Vec<u8> = content.chain(name.iter().copied()).collect();
        self.object(2, 0, &content)
    }

    /// The first entry of a value stands in it, the others in a chain of arrays.
    fn arrays(&mut self) {
        for (at, entries) in self.values.clone().into_values() {
            self.put(at + 56, entries.len() as u64);
            let Some((first, rest)) = entries.split_first() else { continue };
            self.put(at + 40, *first);
            let (mut from, mut link, mut length) = (rest, at + 48, ARRAY_FIRST);
            while !from.is_empty() {
                let (now, later) = from.split_at(from.len().min(length));
                let mut content = vec![0; 8];
                for place in 0..length {
                    content.extend(self.offset(now.get(place).copied().unwrap_or(0)));
                }
                let array = self.object(6, 0, &content);
                self.put(link, array);
                (from, link, length) = (later, array + 16, length * 2);
            }
        }
    }
}
