/*
 * Events of the engines for JS. Engine threads or bits into plane->events and write an eventfd; a small thread reads it
 * and hands the bits, coalesced, to the one listener, so that engine threads never touch JS.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <unistd.h>

#include "addon.h"

/* Before Node takes the listener down itself at its end, after which it is no more to be touched. */
static void end_watcher(void *data)
{
	struct plane *plane = data;
	u64 one = 1;

	if (!plane->has_watcher)
		return;
	if (write(plane->stop, &one, sizeof(one)) == sizeof(one))
		pthread_join(plane->watcher, NULL);
	if (read(plane->stop, &one, sizeof(one)) < 0) /* or the next watcher would end at once */
		one = 0;
	plane->has_watcher = 0;
	napi_release_threadsafe_function(plane->listener, napi_tsfn_abort);
}

void stop_watcher(napi_env env, struct plane *plane)
{
	if (plane->has_watcher)
		napi_remove_env_cleanup_hook(env, end_watcher, plane);
	end_watcher(plane);
}

static void *watcher_run(void *data)
{
	struct plane *plane = data;
	struct pollfd waits[2] = { { .fd = plane->wake, .events = POLLIN }, { .fd = plane->stop, .events = POLLIN } };

	for (;;) {
		u64 count;
		u32 events;

		if (poll(waits, 2, -1) < 0 && errno != EINTR)
			return NULL;
		if (waits[1].revents)
			return NULL;
		if (read(plane->wake, &count, sizeof(count)) != sizeof(count))
			continue;
		events = __atomic_exchange_n(&plane->events, 0, __ATOMIC_SEQ_CST);
		if (events)
			napi_call_threadsafe_function(plane->listener, (void *)(size_t)events, napi_tsfn_nonblocking);
	}
}

static void call_listener(napi_env env, napi_value listener, void *context, void *data)
{
	napi_value events, undefined;

	(void)context;
	if (!env)
		return;
	napi_create_uint32(env, (u32)(size_t)data, &events);
	napi_get_undefined(env, &undefined);
	napi_call_function(env, undefined, listener, 1, &events, NULL);
}

napi_value addon_watch(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], name;
	struct plane *plane;

	if (!read_arguments(env, info, arguments, 2) || !(plane = read_plane(env, arguments[0])))
		return NULL;
	stop_watcher(env, plane);
	napi_create_string_utf8(env, "fairlead events", NAPI_AUTO_LENGTH, &name);
	if (napi_create_threadsafe_function(env, arguments[1], NULL, name, 0, 1, NULL, NULL, NULL, call_listener,
					    &plane->listener) != napi_ok) {
		napi_throw_type_error(env, NULL, "a function is wanted here");
		return NULL;
	}
	napi_unref_threadsafe_function(env, plane->listener);
	if (pthread_create(&plane->watcher, NULL, watcher_run, plane)) {
		napi_release_threadsafe_function(plane->listener, napi_tsfn_abort);
		return fail(env, -ENOMEM, "no thread to watch the engine with");
	}
	pthread_setname_np(plane->watcher, "fl-watch");
	plane->has_watcher = 1;
	napi_add_env_cleanup_hook(env, end_watcher, plane);
	return NULL;
}
