//! Parsers of foreign formats: procfs, cgroups
