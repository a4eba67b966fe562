/* What the files of the boundary share: the plane behind a handle, and the functions that addon.c's table names. */
#ifndef FL_ADDON_H
#define FL_ADDON_H

#include <pthread.h>

#include "../core/frame.h"
#include "../engine/path.h"
#include "../engine/replay.h"
#include "arguments.h"

#define INTERFACE_OCTETS 64
#define PATH_OCTETS 4096

struct path_handle;

struct plane {
	struct fl_region region;
	struct fl_runner *runner;
	struct fl_replayer *replayer; /* frames are replayed by the kernel's programs */
	struct path_handle *path;     /* whose probes go by this region, or NULL */
	int is_open;
	u32 events; /* or-ed by engine threads, taken whole by the watcher */
	int wake;
	int stop;
	pthread_t watcher;
	int has_watcher;
	napi_threadsafe_function listener;
	napi_ref buffers[FL_SECTION_COUNT];
};

/* The plane of a handle, open; NULL and a pending exception otherwise. */
struct plane *read_plane(napi_env env, napi_value value);
/* The same, and its region may be written. */
struct plane *read_writable(napi_env env, napi_value value);

/* watch.c. watch(handle, callback: (events) => void): one listener; it does not keep the process alive */
napi_value addon_watch(napi_env env, napi_callback_info info);
void stop_watcher(napi_env env, struct plane *plane);

/* replay.c */
napi_value addon_replay(napi_env env, napi_callback_info info);
napi_value addon_replayer(napi_env env, napi_callback_info info);
napi_value addon_age(napi_env env, napi_callback_info info);

/* host.c: what takes no plane */
napi_value addon_driver(napi_env env, napi_callback_info info);
napi_value addon_processors(napi_env env, napi_callback_info info);
napi_value addon_bpffs(napi_env env, napi_callback_info info);
napi_value addon_remove(napi_env env, napi_callback_info info);
napi_value addon_inspect(napi_env env, napi_callback_info info);
napi_value addon_notify(napi_env env, napi_callback_info info);

/* ask.c. ask(ifindex, questions, waitMs) for `fairlead doctor`, which waits for it: a Uint8Array of struct fl_asked goes in,
 * one of struct fl_asked_answer comes out. */
napi_value addon_ask(napi_env env, napi_callback_info info);

/* probe.c; what they do is in engine/probe.h. */
/* probeOpen(listener: (answers: ArrayBuffer) => void) -> handle; it does not keep the process alive */
napi_value addon_probe_open(napi_env env, napi_callback_info info);
/* probeAsk(handle, kind, address: Uint8Array, port, timeoutMs) -> id; throws an error with the errno's name as code */
napi_value addon_probe_ask(napi_env env, napi_callback_info info);
/* probeClose(handle); harmless the second time */
napi_value addon_probe_close(napi_env env, napi_callback_info info);

/* path.c; what they do is in engine/path.h. Errors have the errno's name as their code. */
/* pathOpen(device, mark) -> handle */
napi_value addon_path_open(napi_env env, napi_callback_info info);
/* pathUse(handle, plane): from now on by this plane's region, until it is closed */
napi_value addon_path_use(napi_env env, napi_callback_info info);
/* pathSocket(handle, protocol, vip: Uint8Array, port, server: Uint8Array, slot, generation) -> [fd, pin] */
napi_value addon_path_socket(napi_env env, napi_callback_info info);
/* pathEnd(handle, pin) -> the reason of its last packet, 0 without one */
napi_value addon_path_end(napi_env env, napi_callback_info info);
/* pathClose(handle): not twice */
napi_value addon_path_close(napi_env env, napi_callback_info info);
/* pathRemove(mark) -> were there rules that a killed process left */
napi_value addon_path_remove(napi_env env, napi_callback_info info);
void forget_path(struct plane *plane);
struct fl_path *path_of(const struct plane *plane);

#endif
