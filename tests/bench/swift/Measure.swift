// Rounds: each measures everybody once, so that whatever else the machine does hits all alike, and only what was measured in
// one round is compared.
import Foundation

/// Something to do, and how long it takes.
struct Work {
    let name: String
    /// How many times as long as ours it has to take at least.
    var target: Double?
    /// Nanoseconds each, if it is done this often.
    let time: (_ count: Int) async throws -> Double

    init<Result>(_ name: String, target: Double? = nil, _ work: @escaping () throws -> Result) {
        self.name = name
        self.target = target
        time = { count in
            let start = ContinuousClock.now
            for _ in 0..<count { blackHole(try work()) }
            return (ContinuousClock.now - start) / .nanoseconds(1) / Double(count)
        }
    }

    init<Result>(awaited name: String, target: Double? = nil, _ work: @escaping () async throws -> Result) {
        self.name = name
        self.target = target
        time = { count in
            let start = ContinuousClock.now
            for _ in 0..<count { blackHole(try await work()) }
            return (ContinuousClock.now - start) / .nanoseconds(1) / Double(count)
        }
    }
}

/// Takes what nobody needs, so that the compiler can't leave out the work.
@inline(never)
@_optimize(none)
func blackHole<Value>(_: Value) {}

/// Prints how long we take, and how much longer the others do; where asked, also how often each goes in a second.
func compare(_ title: String, inASecond: Bool = false, _ ours: Work, _ others: [Work]) async throws {
    let all = [ours] + others
    var counts: [Int] = []
    for work in all { counts.append(try await enough(work)) }
    var rounds: [[Double]] = []
    for _ in 0..<31 {
        var round: [Double] = []
        for (work, count) in zip(all, counts) { round.append(try await work.time(count)) }
        rounds.append(round)
    }
    let own = median(rounds.map { $0[0] })
    func shown(_ nanoseconds: Double) -> String {
        grouped(nanoseconds) + (inASecond ? " | \(grouped(1e9 / nanoseconds))" : "")
    }
    var lines = [
        "| \(title) | ns | \(inASecond ? "in a second | " : "")as long as ours | target | |",
        "|---|---:|\(inASecond ? "---:|" : "")---:|---:|---|",
        "| \(ours.name) | \(shown(own)) | | | |",
    ]
    for (at, other) in others.enumerated() {
        let ratio = median(rounds.map { $0[at + 1] / $0[0] })
        let verdict = other.target.map { "\($0) × | \(ratio >= $0 ? "met" : "missed")" } ?? " | "
        lines.append("| \(other.name) | \(shown(own * ratio)) | \(fixed(ratio, 2)) × | \(verdict) |")
    }
    print("\n" + lines.joined(separator: "\n"))
}

/// How often something is done in one round of about 4 ms; finding out warms it up.
private func enough(_ work: Work) async throws -> Int {
    var count = 10
    for step in 0..<40 {
        let milliseconds = try await work.time(count) * Double(count) / 1e6
        if milliseconds >= 4, step > 4 { return max(10, Int(Double(count) * 4 / milliseconds)) }
        if milliseconds < 4 { count *= 2 }
    }
    return count
}

func median(_ values: [Double]) -> Double {
    values.sorted()[values.count / 2]
}

func fixed(_ number: Double, _ digits: Int) -> String {
    String(format: "%.\(digits)f", number)
}

/// `1234567` as `1,234,567`; below 100, one digit more.
func grouped(_ number: Double) -> String {
    guard number >= 100 else { return fixed(number, 1) }
    let digits = Array(fixed(number, 0))
    return digits.enumerated().reduce(into: "") { text, digit in
        if digit.offset > 0, (digits.count - digit.offset) % 3 == 0 { text.append(",") }
        text.append(digit.element)
    }
}
