//! One value of one series, and the tokens by which its changes are written.
//!
//! Owns: the codes of reasons, and how a change is told from the value before it.
//! Must not know: which series a value belongs to.

use model::{Reading, Why};

use crate::coding::{Malformed, Reader, put_number, unzigzag, zigzag};

const KNOWN: u8 = 0;
const ABSENT: u8 = 1;
const NOT_RECORDED: u8 = 5;

/// What may be missing for lack of a permission, by code. The type wants names that live for ever; a file cannot give such.
const NEEDS: [(u8, &str); 7] = [
    (8, "more privilege"),
    (9, "CAP_SYS_PTRACE"),
    (10, "CAP_SYS_ADMIN"),
    (11, "root"),
    (12, "CAP_SYSLOG"),
    (13, "CAP_DAC_READ_SEARCH"),
    (14, "CAP_IPC_OWNER"),
];

/// A value, a reason why there is none, or: this row is not there at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    code: u8,
    /// Zero unless the code is [`KNOWN`].
    value: u64,
}

impl Cell {
    /// Nothing of this row was there.
    pub(crate) const ABSENT: Self = Self { code: ABSENT, value: 0 };
    /// The row is there.
    pub(crate) const PRESENT: Self = Self { code: KNOWN, value: 1 };

    pub(crate) const fn new(reading: Reading<u64>) -> Self {
        match reading {
            Reading::Known(value) => Self { code: KNOWN, value },
            Reading::Missing(why) => Self { code: code_of(why), value: 0 },
        }
    }

    /// The reading; none where the row is absent.
    pub(crate) fn reading(self) -> Option<Reading<u64>> {
        match self.code {
            KNOWN => Some(Reading::Known(self.value)),
            ABSENT => None,
            code => Some(Reading::Missing(why_of(code))),
        }
    }
}

/// The code of a reason.
pub(crate) const fn code_of(why: Why) -> u8 {
    match why {
        Why::ProcessGone => 2,
        Why::NotOffered => 3,
        Why::Malformed => 4,
        Why::NoDebugInformation => 6,
        Why::TooShort => 7,
        Why::NotPermitted { needs } => code_of_need(needs),
        // A reason that this version of the format has no code for.
        Why::NotRecorded | _ => NOT_RECORDED,
    }
}

const fn code_of_need(needs: &str) -> u8 {
    let mut position = 0;
    while position < NEEDS.len() {
        if is_same(NEEDS[position].1.as_bytes(), needs.as_bytes()) {
            return NEEDS[position].0;
        }
        position += 1;
    }
    NEEDS[0].0
}

const fn is_same(one: &[u8], other: &[u8]) -> bool {
    let mut position = 0;
    while position < one.len() && position < other.len() && one[position] == other[position] {
        position += 1;
    }
    one.len() == other.len() && position == one.len()
}

/// The reason of a code; a code that nobody wrote is itself malformed.
pub(crate) fn why_of(code: u8) -> Why {
    match code {
        2 => Why::ProcessGone,
        3 => Why::NotOffered,
        NOT_RECORDED => Why::NotRecorded,
        6 => Why::NoDebugInformation,
        7 => Why::TooShort,
        _ => {
            let need = NEEDS.iter().find(|(need, _)| *need == code);
            need.map_or(Why::Malformed, |(_, needs)| Why::NotPermitted { needs })
        }
    }
}

/// The state of a series, kept alike by the one that writes and the one that reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tracker {
    code: u8,
    /// The last value that was known: one that is missing in between costs no full value afterwards.
    value: u64,
}

impl Tracker {
    /// A series of a row that is there, in which nothing was recorded yet.
    pub(crate) const UNRECORDED: Self = Self { code: NOT_RECORDED, value: 0 };
    /// A series of a row that is not there yet.
    pub(crate) const ABSENT: Self = Self { code: ABSENT, value: 0 };

    pub(crate) const fn cell(self) -> Cell {
        Cell { code: self.code, value: if self.code == KNOWN { self.value } else { 0 } }
    }

    /// Whether this cell would be no change.
    pub(crate) const fn is(self, cell: Cell) -> bool {
        self.code == cell.code && (cell.code != KNOWN || self.value == cell.value)
    }

    /// Writes the change to this cell. `quantum` is what differences of this series are mostly multiples of, for example a page.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, cell: Cell, quantum: i64) {
        debug_assert!(quantum > 0, "differences are divided by it");
        self.code = cell.code;
        if cell.code != KNOWN {
            put_number(out, u64::from(cell.code) << 1 | 1);
            return;
        }
        let difference = cell.value.wrapping_sub(self.value) as i64;
        self.value = cell.value;
        let steps = zigzag(difference / quantum);
        if difference % quantum == 0 && steps < 1 << 62 {
            put_number(out, steps << 1);
        } else {
            put_number(out, 1);
            put_number(out, zigzag(difference));
        }
    }

    /// Reads what [`Self::put`] wrote.
    pub(crate) fn take(&mut self, reader: &mut Reader<'_>, quantum: i64) -> Result<Cell, Malformed> {
        let token = reader.number()?;
        let difference = match token {
            1 => unzigzag(reader.number()?),
            token if token & 1 == 1 => {
                self.code = u8::try_from(token >> 1).map_err(|_| Malformed)?;
                return Ok(self.cell());
            }
            token => unzigzag(token >> 1).wrapping_mul(quantum),
        };
        self.code = KNOWN;
        self.value = self.value.wrapping_add(difference as u64);
        Ok(self.cell())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Cells are read back, in so many bytes.
    #[track_caller]
    fn check(readings: &[Reading<u64>], quantum: i64, length: usize) {
        let mut out = Vec::new();
        let mut tracker = Tracker::UNRECORDED;
        for reading in readings {
            tracker.put(&mut out, Cell::new(*reading), quantum);
            assert!(tracker.is(Cell::new(*reading)));
        }
        assert_eq!(out.len(), length, "{out:?}");
        let mut reader = Reader::new(&out);
        let mut tracker = Tracker::UNRECORDED;
        for reading in readings {
            assert_eq!(tracker.take(&mut reader, quantum).unwrap().reading(), Some(*reading));
        }
        assert!(reader.is_empty());
    }

    #[test]
    fn changes_are_short() {
        check(&[Reading::Known(4096), Reading::Known(3 * 4096), Reading::Known(0)], 4096, 3);
        check(&[Reading::Known(5)], 4096, 2);
        check(&[Reading::Known(u64::MAX), Reading::Known(1), Reading::Known(1 << 63)], 1, 1 + 1 + 1 + 10);
    }

    #[test]
    fn a_missing_value_keeps_its_reason_and_costs_one_byte() {
        let missing = |why| Reading::Missing(why);
        check(&[Reading::Known(1 << 20), missing(Why::ProcessGone), Reading::Known(1 << 20)], 1, 4 + 1 + 1);
        for why in [Why::NotOffered, Why::Malformed, Why::NotRecorded, Why::NoDebugInformation, Why::TooShort] {
            check(&[missing(why)], 1, 1);
        }
        for (_, needs) in NEEDS {
            check(&[missing(Why::NotPermitted { needs })], 1, 1);
        }
    }

    #[test]
    fn a_permission_without_a_code_is_still_a_permission() {
        let why = why_of(code_of(Why::NotPermitted { needs: "CAP_OF_TOMORROW" }));
        assert_eq!(why, Why::NotPermitted { needs: "more privilege" });
        assert_eq!(why_of(200), Why::Malformed);
        assert_eq!(Cell::ABSENT.reading(), None);
    }
}
