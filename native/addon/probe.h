/* Probes at the boundary; what they do is in engine/probe.h. */
#ifndef FL_ADDON_PROBE_H
#define FL_ADDON_PROBE_H

#include <node_api.h>

/* probeOpen(listener: (answers: ArrayBuffer) => void) -> handle; it does not keep the process alive */
napi_value addon_probe_open(napi_env env, napi_callback_info info);
/* probeAsk(handle, kind, address: Uint8Array, port, timeoutMs) -> id; throws an error with the errno's name as code */
napi_value addon_probe_ask(napi_env env, napi_callback_info info);
/* probeClose(handle); harmless the second time */
napi_value addon_probe_close(napi_env env, napi_callback_info info);

#endif
