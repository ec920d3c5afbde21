"""Other HTTP APIs than the Open Inference Protocol, made a `Teacher`; `tensorflow_serving.py` is one to start from.

`mekd-edge distill --adapter package.module:factory` imports `factory` and calls it once:

    factory(exchange, model) -> Teacher

`exchange` (`edge.asking.exchange.Exchange`) sends requests to `--server`. It tries again what may pass, waits as long
as `Retry-After` says, raises what is final as the errors of `shared.errors` (401, 402, 403, ...), and every byte is
counted. The key goes as a bearer token; for an API that wants it elsewhere, give `post` and `get` headers made
from `exchange.key`. `model` (`edge.asking.served_model.ServedModel`) is what the flags `--model`, `--teacher-output`
and `--pixel-range` say; its `meanings` and `pixels` check and apply them. What is returned has three methods:

    metadata()                  asked first: one input `images` UINT8 [-1, C, H, W], the outputs in our names, and as
                                parameters {TOLD: model.flags()}, so that a run goes on only with the same flags
    usage()                     budget and limits of the key; None where nobody counts
    ask(images, output, key)    `images` uint8 [N, C, H, W] -> `Reply`; make its values with `checked_values`

`key` is the same whenever the same question is sent again. An API that knows idempotency keys should get it. One that
does not may charge an answer that was lost on the way a second time; the journal counts each answer once, so the run
keeps to its budget by its own count only.
"""
