// Does to `Client` what it reads, one JSON object per line. See ../../README.md.
import Foundation
import Remint

/// Here, since what is at top level belongs to the main actor.
func obey() async throws {
    var driver = Driver()
    while let line = readLine() {
        let answer: [String: Any]
        do {
            guard var words = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any],
                let verb = words.removeValue(forKey: "verb") as? String
            else { throw Malformed(what: "line") }
            answer = ["ok": try await driver.run(verb, Words(words))]
        } catch let error as RemintError {
            answer = ["error": about(error)]
        } catch {
            answer = ["broken": printed(error)]
        }
        FileHandle.standardOutput.write(try JSONSerialization.data(withJSONObject: answer) + Data("\n".utf8))
    }
    await driver.close()
}

func about(_ error: RemintError) -> [String: Any] {
    [
        "code": error.code, "family": "\(error.family)", "message": error.localizedDescription,
        "status": error.status as Any? ?? NSNull(), "retryable": error.isRetryable,
        "oauth_error": error.oauthError as Any? ?? NSNull(), "hint": error.hint as Any? ?? NSNull(),
        "ambiguous": error.isAmbiguous, "acr_values": error.acrValues as Any? ?? NSNull(),
        "max_age": error.maxAge.map { $0 / .seconds(1) } as Any? ?? NSNull(), "shown": printed(error),
    ]
}

try await obey()
