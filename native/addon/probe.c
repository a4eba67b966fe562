/*
 * Probes at the boundary. The probe thread's wake becomes one call into JS however often it comes (a flag coalesces), and
 * that call carries all answers there are. A handle is an external with a type tag, closed by probeClose or by the
 * collector, and by the environment's end before Node takes the listener down.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>

#include "../engine/probe.h"
#include "addon.h"

#define ANSWERS_AT_ONCE 1024
#define TIMEOUT_MOST_MS 86400000u

static const napi_type_tag probe_tag = { 0x6661697266c6c61eull, 0x9a0be50c4e75a1d3ull };

struct handle {
	struct fl_probe *probe; /* NULL: closed */
	napi_threadsafe_function listener;
	int is_called; /* a call into JS is on its way */
};

static void wake(void *context)
{
	struct handle *handle = context;

	if (__atomic_exchange_n(&handle->is_called, 1, __ATOMIC_SEQ_CST))
		return;
	napi_call_threadsafe_function(handle->listener, handle, napi_tsfn_nonblocking);
}

static void call_listener(napi_env env, napi_value listener, void *context, void *data)
{
	struct handle *handle = data;
	napi_handle_scope scope;
	size_t taken;

	(void)context;
	if (!env || !handle->probe)
		return;
	__atomic_store_n(&handle->is_called, 0, __ATOMIC_SEQ_CST);
	do {
		struct fl_probe_answer *answers;
		napi_value buffer, undefined;
		void *octets;

		answers = malloc(ANSWERS_AT_ONCE * sizeof(*answers));
		if (!answers)
			return;
		taken = fl_probe_take(handle->probe, answers, ANSWERS_AT_ONCE);
		napi_open_handle_scope(env, &scope);
		if (taken && napi_create_arraybuffer(env, taken * sizeof(*answers), &octets, &buffer) == napi_ok) {
			memcpy(octets, answers, taken * sizeof(*answers));
			napi_get_undefined(env, &undefined);
			napi_call_function(env, undefined, listener, 1, &buffer, NULL);
		}
		napi_close_handle_scope(env, scope);
		free(answers);
		/* The listener may have closed the handle. */
	} while (taken == ANSWERS_AT_ONCE && handle->probe);
}

static void close_handle(void *data)
{
	struct handle *handle = data;

	if (!handle->probe)
		return;
	fl_probe_stop(handle->probe);
	handle->probe = NULL;
	napi_release_threadsafe_function(handle->listener, napi_tsfn_abort);
}

static void finalize_handle(napi_env env, void *data, void *hint)
{
	struct handle *handle = data;

	(void)hint;
	if (handle->probe)
		napi_remove_env_cleanup_hook(env, close_handle, handle);
	close_handle(handle);
	free(handle);
}

static struct handle *read_handle(napi_env env, napi_value value)
{
	struct handle *handle = NULL;
	bool is_handle = false;
	napi_valuetype type;

	if (napi_typeof(env, value, &type) == napi_ok && type == napi_external &&
	    napi_check_object_type_tag(env, value, &probe_tag, &is_handle) == napi_ok && is_handle &&
	    napi_get_value_external(env, value, (void **)&handle) == napi_ok)
		return handle;
	napi_throw_type_error(env, NULL, "a handle of probes is wanted here");
	return NULL;
}

napi_value addon_probe_open(napi_env env, napi_callback_info info)
{
	napi_value arguments[1], name, value;
	struct handle *handle;
	int code;

	if (!read_arguments(env, info, arguments, 1))
		return NULL;
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return fail(env, -ENOMEM, "no memory for probes");
	napi_create_string_utf8(env, "fairlead probes", NAPI_AUTO_LENGTH, &name);
	if (napi_create_threadsafe_function(env, arguments[0], NULL, name, 0, 1, NULL, NULL, NULL, call_listener,
					    &handle->listener) != napi_ok) {
		free(handle);
		napi_throw_type_error(env, NULL, "a function is wanted here");
		return NULL;
	}
	napi_unref_threadsafe_function(env, handle->listener);
	code = fl_probe_start(&handle->probe, wake, handle);
	if (code) {
		handle->probe = NULL;
		napi_release_threadsafe_function(handle->listener, napi_tsfn_abort);
		free(handle);
		return fail_by_name(env, code);
	}
	napi_add_env_cleanup_hook(env, close_handle, handle);
	if (napi_create_external(env, handle, finalize_handle, NULL, &value) != napi_ok)
		return NULL; /* the environment is ending; the hook closes it */
	napi_type_tag_object(env, value, &probe_tag);
	return value;
}

napi_value addon_probe_ask(napi_env env, napi_callback_info info)
{
	u32 kind, port, timeout_ms;
	napi_value arguments[5], id;
	napi_typedarray_type type;
	struct handle *handle;
	size_t length;
	void *address;
	long long code;

	if (!read_arguments(env, info, arguments, 5) || !(handle = read_handle(env, arguments[0])) ||
	    !read_u32(env, arguments[1], &kind) || !read_u32(env, arguments[3], &port) ||
	    !read_u32(env, arguments[4], &timeout_ms))
		return NULL;
	if (napi_get_typedarray_info(env, arguments[2], &type, &length, &address, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array || (length != 4 && length != 16)) {
		napi_throw_type_error(env, NULL, "an address of 4 or 16 octets is wanted here");
		return NULL;
	}
	if (kind >= FL_PROBE_KIND_COUNT || port > 65535 || timeout_ms > TIMEOUT_MOST_MS) {
		napi_throw_range_error(env, NULL, "a kind, port or time-out is out of range");
		return NULL;
	}
	if (!handle->probe) {
		napi_throw_type_error(env, NULL, "these probes are closed");
		return NULL;
	}
	code = fl_probe_ask(handle->probe, kind, length == 4 ? 4 : 6, address, (u16)port, timeout_ms);
	if (code < 0)
		return fail_by_name(env, (int)code);
	return napi_create_uint32(env, (u32)code, &id) == napi_ok ? id : NULL;
}

napi_value addon_probe_close(napi_env env, napi_callback_info info)
{
	napi_value arguments[1];
	struct handle *handle;

	if (!read_arguments(env, info, arguments, 1) || !(handle = read_handle(env, arguments[0])))
		return NULL;
	if (handle->probe)
		napi_remove_env_cleanup_hook(env, close_handle, handle);
	close_handle(handle);
	return NULL;
}
