"""The command line, one module per noun.

    serve demo            the service itself            jobs     list show logs follow cancel pause resume redub result
    dub                   one video in this process     models   list pull verify
    submit                one video to a service        tenants keys usage   the operator's books

`terminal` says how every command prints and ends; `options` holds what several of them ask for. Heavy imports (Ray,
engines, gRPC) happen inside the command that needs them: the help has to come at once.
"""
