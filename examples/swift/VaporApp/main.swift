// Starts the application, and stands for one visitor of it. `vapor new` makes an entry point of its own.
import Foundation
import Program
import Vapor

await program {
    let app = Application()
    try await configure(app)
    let answer = try await app.answer(path: "wallets")
    print(String(decoding: answer.body.data ?? Data(), as: UTF8.self))
    try await app.asyncShutdown()
}
