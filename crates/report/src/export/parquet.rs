//! Recordings as Parquet.
//!
//! Owns: the schema and the row groups. Must not know: what a reader makes of them.
//!
//! Times are `TIMESTAMP(MICROS, UTC)`, figures `INT64` in the units of their column, names strings; everything but time, pid
//! and start may be missing (null). Dictionaries keep repeated names and figures small, so that no compression is built in.

use std::io::{self, Write};
use std::sync::Arc;

use model::{Beat, ProcessReading};
use parquet::basic::Encoding;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use super::{KILOBYTES, NUMBERS, kilobytes, number};
use crate::limits::ROWS_IN_GROUP;

/// All processes of a recording as one table: one row for each of them and each beat.
pub struct ProcessParquet<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    rows: Columns,
}

/// Rows that are not written yet, column by column.
#[derive(Default)]
struct Columns {
    numbers: Vec<Vec<Option<i64>>>,
    texts: Vec<Vec<Option<String>>>,
}

/// Columns that always have a value.
const REQUIRED: [&str; 3] = ["Timestamp", "PID", "Started_Ticks"];
const TEXTS: [&str; 5] = ["Command", "User", "Container", "State", "Arguments"];

impl<W: Write + Send> ProcessParquet<W> {
    /// Starts a file.
    pub fn new(out: W) -> io::Result<Self> {
        let schema = Arc::new(parse_message_type(&schema()).map_err(failed)?);
        // Dictionaries are tried first whatever is set here; plain is what a column falls back to whose values are all different,
        // and what every reader understands.
        let properties =
            WriterProperties::builder().set_encoding(Encoding::PLAIN).set_created_by("leakline".to_owned());
        let writer = SerializedFileWriter::new(out, schema, Arc::new(properties.build())).map_err(failed)?;
        Ok(Self { writer, rows: Columns::default() })
    }

    /// Adds the rows of a beat.
    pub fn beat(&mut self, beat: &Beat) -> io::Result<()> {
        let micros = i64::try_from(beat.at.wall_ns / 1000).unwrap_or(i64::MAX);
        for process in &beat.processes {
            self.rows.push(micros, process);
        }
        // Looked at after a whole beat: a group is larger than the bound by one beat at most, and no beat is torn in two.
        if self.rows.len() >= ROWS_IN_GROUP { self.flush() } else { Ok(()) }
    }

    /// Writes what is left and the end of the file, without which no reader opens it.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        self.writer.close().map_err(failed)?;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        let rows = std::mem::take(&mut self.rows);
        if rows.len() == 0 {
            return Ok(());
        }
        let mut group = self.writer.next_row_group().map_err(failed)?;
        rows.write(&mut group).map_err(failed)?;
        group.close().map_err(failed)?;
        Ok(())
    }
}

impl<W: Write + Send> std::fmt::Debug for ProcessParquet<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProcessParquet").field("rows_waiting", &self.rows.len()).finish_non_exhaustive()
    }
}

impl Columns {
    fn len(&self) -> usize {
        self.numbers.first().map_or(0, Vec::len)
    }

    fn push(&mut self, micros: i64, process: &ProcessReading) {
        let (identity, figures) = (&process.identity, &process.figures);
        // Parquet's integers are signed, and its unsigned ones are not understood by all readers; no figure comes near the end.
        let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let mut numbers = vec![
            Some(micros),
            Some(i64::from(identity.key.pid.0)),
            Some(signed(identity.key.started)),
            kilobytes(figures.memory().rss().map(|bytes| bytes.0)).map(signed),
        ];
        numbers.extend(KILOBYTES.map(|(_, metric)| kilobytes(figures.get(metric)).map(signed)));
        numbers.extend(NUMBERS.map(|(_, metric)| number(metric, figures.get(metric)).map(signed)));
        let texts = [
            Some(identity.command.clone()),
            identity.user.as_known().cloned(),
            identity.container.clone(),
            figures.state().known().map(String::from),
            Some(identity.arguments.clone()),
        ];
        add(&mut self.numbers, numbers);
        add(&mut self.texts, texts);
        debug_assert_eq!(self.numbers.len(), number_titles().count(), "a column for each title");
    }

    fn write<W: Write + Send>(&self, group: &mut SerializedRowGroupWriter<'_, W>) -> Result<(), ParquetError> {
        for (column, title) in self.numbers.iter().zip(number_titles()) {
            let mut writer = next(group)?;
            let present: Vec<i64> = column.iter().flatten().copied().collect();
            let levels = levels(column, title);
            writer.typed::<Int64Type>().write_batch(&present, levels.as_deref(), None)?;
            writer.close()?;
        }
        for (column, title) in self.texts.iter().zip(TEXTS) {
            let mut writer = next(group)?;
            let present: Vec<ByteArray> = column.iter().flatten().map(|text| ByteArray::from(text.as_str())).collect();
            let levels = levels(column, title);
            writer.typed::<ByteArrayType>().write_batch(&present, levels.as_deref(), None)?;
            writer.close()?;
        }
        Ok(())
    }
}

/// One more row. The first row makes the columns; every row has the same number of them, since all are made by one function.
fn add<T>(columns: &mut Vec<Vec<T>>, row: impl IntoIterator<Item = T>) {
    for (index, value) in row.into_iter().enumerate() {
        if columns.len() <= index {
            columns.push(Vec::new());
        }
        columns[index].push(value);
    }
    debug_assert!(columns.windows(2).all(|pair| pair[0].len() == pair[1].len()), "all columns have all rows");
}

/// The definition levels of a column, by which Parquet says which values are there, for only these are stored: 1 for those, 0 for the missing; nothing where none may be missing.
fn levels<T>(column: &[Option<T>], title: &str) -> Option<Vec<i16>> {
    (!REQUIRED.contains(&title)).then(|| column.iter().map(|value| i16::from(value.is_some())).collect())
}

/// The columns of a group are written in the order of the schema, which is why schema and rows are made from the same lists.
fn next<'a, W: Write + Send>(
    group: &'a mut SerializedRowGroupWriter<'_, W>,
) -> Result<SerializedColumnWriter<'a>, ParquetError> {
    group.next_column()?.ok_or_else(|| ParquetError::General("more columns than the schema has".to_owned()))
}

fn number_titles() -> impl Iterator<Item = &'static str> {
    REQUIRED.into_iter().chain(["RSS_KB"]).chain(KILOBYTES.iter().chain(&NUMBERS).map(|(title, _)| *title))
}

/// The schema in the language of Parquet.
fn schema() -> String {
    let number = |title: &str| match title {
        "Timestamp" => "required int64 Timestamp (TIMESTAMP(MICROS,true));".to_owned(),
        _ if REQUIRED.contains(&title) => format!("required int64 {title};"),
        _ => format!("optional int64 {title};"),
    };
    let numbers: Vec<String> = number_titles().map(number).collect();
    let texts = TEXTS.map(|title| format!("optional binary {title} (STRING);"));
    format!("message processes {{ {} {} }}", numbers.join(" "), texts.join(" "))
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;
    use model::{Beat, Pid, ProcessKey};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    fn written(beats: &[Beat]) -> SerializedFileReader<parquet_bytes::Bytes> {
        let mut file = Vec::new();
        let mut export = ProcessParquet::new(&mut file).expect("a file can be started");
        for beat in beats {
            export.beat(beat).expect("a vector takes everything");
        }
        export.finish().expect("a file can be ended");
        SerializedFileReader::new(parquet_bytes::Bytes::from(file)).expect("what was written can be read")
    }

    #[test]
    fn what_was_written_is_read_back() {
        let reader = written(&[samples::beat(0), samples::beat(1)]);
        let rows: Vec<_> = reader.get_row_iter(None).expect("rows can be read").map(Result::unwrap).collect();
        assert_eq!(rows.len(), 4);
        assert_eq!(rows[0].get_timestamp_micros(0).expect("a time"), 1_795_240_800_000_000);
        assert_eq!(rows[0].get_long(1).expect("a pid"), 100);
        let last = rows[0].len() - 1;
        assert_eq!(rows[0].get_string(last).expect("a text"), "java -jar shop.jar");
        let described = rows[1].to_string();
        assert!(described.contains("Container: null") && described.contains("PSS_KB: null"), "{described}");
    }

    #[test]
    fn an_empty_recording_is_a_file_without_rows() {
        assert_eq!(written(&[]).metadata().file_metadata().num_rows(), 0);
        let mut beat = samples::beat(0);
        beat.processes.clear();
        assert_eq!(written(&[beat]).num_row_groups(), 0);
    }

    #[test]
    fn many_rows_are_several_groups() {
        let mut beat = samples::beat(0);
        let one = beat.processes[0].clone();
        beat.processes = vec![one; ROWS_IN_GROUP / 2 + 1];
        let reader = written(&[beat.clone(), beat.clone(), beat]);
        assert_eq!(reader.num_row_groups(), 2);
        assert_eq!(reader.metadata().file_metadata().num_rows(), 3 * (ROWS_IN_GROUP as i64 / 2 + 1));
    }

    #[test]
    fn figures_too_large_for_the_format_are_cut_and_not_negative() {
        let mut beat = samples::beat(0);
        let mut identity = (*beat.processes[0].identity).clone();
        identity.key = ProcessKey { pid: Pid(u32::MAX), started: u64::MAX };
        beat.processes[0].identity = identity.into();
        let row = written(&[beat]).get_row_iter(None).expect("rows can be read").next().expect("a row").expect("a row");
        assert_eq!(row.get_long(1).expect("a pid"), i64::from(u32::MAX));
        assert_eq!(row.get_long(2).expect("a start"), i64::MAX);
    }
}
