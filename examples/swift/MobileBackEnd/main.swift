// Makes the client, starts the application, and stands for one app that asks it.
import Foundation
import Program
import Remint
import Vapor

await program {
    var configuration = Configuration()
    configuration.variables["token_endpoint"] = variable("TOKEN_ENDPOINT")
    configuration.variables["iframe_url"] = variable("IFRAME_URL")
    configuration.allowLoopbackHTTP = true
    let market = try Remint.Client(
        "phoenix-market", clientID: variable("CLIENT_ID"), clientSecret: variable("CLIENT_SECRET"),
        configuration: configuration)

    let app = Application()
    try routes(app, market: market, frame: URL(string: variable("IFRAME_URL") ?? "")!)
    let answer = try await app.answer(path: "frame")
    print(String(decoding: answer.body.data ?? Data(), as: UTF8.self))
    print("cache-control:", answer.headers.first(name: "cache-control") ?? "none")
    await market.close()
    try await app.asyncShutdown()
}
