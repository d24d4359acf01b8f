//! How many tests a suite's output says it ran.

use std::ops::AddAssign;

/// The form in which a program reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// Our own programs: a line `N passed, N failed`; several add up.
    Plain,
    /// `cargo test`: one `test result:` line per binary.
    Cargo,
    /// `=== 3 passed, 1 failed in 0.2s ===`; errors count as failed.
    Pytest,
    /// Node's test runner, TAP (`# pass 3`) or spec (`ℹ pass 3`).
    Node,
    /// Maven's test runner: `Tests run: 3, Failures: 1, Errors: 0, Skipped: 0` for each module. What is skipped counts as
    /// failed: there is no reason to skip anything here.
    Surefire,
    /// `swift test`: `Executed 3 tests, with 1 failure (0 unexpected) in 0.2 (0.2) seconds` for each nested suite.
    Swift,
    /// No counts: the program is one test and its exit code the result.
    Exit,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub passed: u64,
    pub failed: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl Report {
    /// What `output` of a program that ended well (`success`) adds up to.
    pub fn read(self, output: &str, success: bool) -> Counts {
        let mut counts = Counts::default();
        match self {
            Self::Plain => output.lines().filter_map(plain).for_each(|line| counts += line),
            Self::Cargo => output
                .lines()
                .filter(|line| line.starts_with("test result: "))
                .for_each(|line| counts += labelled(line)),
            Self::Pytest => {
                if let Some(line) =
                    output.lines().rev().find(|line| line.contains(" in ") && labelled(line) != Counts::default())
                {
                    counts += labelled(line);
                }
            }
            Self::Node => {
                for line in output.lines() {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    if let ["#" | "ℹ", label, number] = words.as_slice()
                        && let Ok(number) = number.parse::<u64>()
                    {
                        match *label {
                            "pass" => counts.passed += number,
                            "fail" | "cancelled" => counts.failed += number,
                            _ => {}
                        }
                    }
                }
            }
            // The lines of single classes go on with the time that they took.
            Self::Surefire => {
                let lines = output.lines().filter_map(|line| line.split_once("Tests run: ").map(|(_, counts)| counts));
                for line in lines.filter(|line| !line.contains("Time elapsed")) {
                    let numbers: Vec<u64> = numbers(line).collect();
                    if let [run, failures, errors, skipped] = *numbers {
                        let failed = failures + errors + skipped;
                        counts += Counts { passed: run.saturating_sub(failed), failed };
                    }
                }
            }
            // The last one is that of everything.
            Self::Swift => {
                if let Some(line) = output.lines().rev().find_map(|line| line.trim().strip_prefix("Executed ")) {
                    let mut numbers = numbers(line);
                    let (run, failed) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
                    counts = Counts { passed: run.saturating_sub(failed), failed };
                }
            }
            Self::Exit => {
                counts.passed = u64::from(success);
                counts.failed = u64::from(!success);
            }
        }
        counts
    }
}

/// Every word of a line that is a number.
fn numbers(line: &str) -> impl Iterator<Item = u64> {
    line.split([' ', ',']).filter_map(|word| word.parse().ok())
}

/// Exactly `N passed, N failed`, so that prose that mentions a count isn't taken for one.
fn plain(line: &str) -> Option<Counts> {
    let (passed, failed) = line.trim().strip_suffix(" failed")?.split_once(" passed, ")?;
    Some(Counts { passed: passed.parse().ok()?, failed: failed.parse().ok()? })
}

/// Every `N word` pair of a summary line, whatever stands between them.
fn labelled(line: &str) -> Counts {
    let words: Vec<&str> = line.split([' ', ',', ';', '=']).filter(|word| !word.is_empty()).collect();
    let mut counts = Counts::default();
    for pair in words.windows(2) {
        if let [number, label] = pair
            && let Ok(number) = number.parse::<u64>()
        {
            match *label {
                "passed" => counts.passed += number,
                "failed" | "error" | "errors" => counts.failed += number,
                _ => {}
            }
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(passed: u64, failed: u64) -> Counts {
        Counts { passed, failed }
    }

    #[test]
    fn plain_lines_add_up_and_prose_does_not_count() {
        let output = "node\n250 passed, 1 failed\nwe saw 3 passed, 4 failed before\nclient\n  40 passed, 0 failed\n";
        assert_eq!(Report::Plain.read(output, false), counts(290, 1));
    }

    #[test]
    fn cargo_reports_one_line_per_binary() {
        let output = "\
test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s
   Doc-tests remint
test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";
        assert_eq!(Report::Cargo.read(output, false), counts(14, 3));
    }

    #[test]
    fn pytest_counts_errors_as_failures() {
        for (line, expected) in [
            ("=== 2 failed, 10 passed, 1 skipped, 1 error in 1.20s ===", counts(10, 3)),
            ("10 passed in 0.05s", counts(10, 0)),
            ("no tests ran in 0.01s", counts(0, 0)),
        ] {
            assert_eq!(Report::Pytest.read(&format!("collected\n{line}\n"), true), expected, "{line}");
        }
    }

    #[test]
    fn node_reports_in_two_forms_and_a_cancelled_test_failed() {
        assert_eq!(Report::Node.read("# tests 5\n# pass 3\n# fail 1\n# cancelled 1\n", false), counts(3, 2));
        assert_eq!(Report::Node.read("ℹ pass 7\nℹ fail 0\nℹ duration_ms 12.5\n", true), counts(7, 0));
    }

    #[test]
    fn maven_reports_each_class_and_each_module_and_nothing_may_be_skipped() {
        let output = "\
[INFO] Tests run: 5, Failures: 0, Errors: 0, Skipped: 0, Time elapsed: 0.1 s -- in dev.remint.ClientTest
[INFO] Tests run: 5, Failures: 0, Errors: 0, Skipped: 0
[WARNING] Tests run: 9, Failures: 1, Errors: 2, Skipped: 1
";
        assert_eq!(Report::Surefire.read(output, false), counts(10, 4));
    }

    #[test]
    fn swift_reports_nested_suites_and_the_last_line_has_them_all() {
        let output = "\
\t Executed 2 tests, with 0 failures (0 unexpected) in 0.003 (0.003) seconds
\t Executed 5 tests, with 1 failure (0 unexpected) in 0.003 (0.003) seconds
";
        assert_eq!(Report::Swift.read(output, false), counts(4, 1));
    }

    #[test]
    fn a_program_without_counts_is_one_test() {
        assert_eq!(Report::Exit.read("", true), counts(1, 0));
        assert_eq!(Report::Exit.read("", false), counts(0, 1));
    }
}
