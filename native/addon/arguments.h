/* Reading arguments and failing, for every function of the boundary: a false return leaves a pending exception. */
#ifndef FL_ADDON_ARGUMENTS_H
#define FL_ADDON_ARGUMENTS_H

#include <errno.h>
#include <stdbool.h>

#include <node_api.h>

#include "../core/types.h"

static inline napi_value fail(napi_env env, int code, const char *message)
{
	const char *name = code == -EBUSY		       ? "EBUSY"
			   : code == -ENOSPC		       ? "ENOSPC"
			   : code == -ENOMEM		       ? "ENOMEM"
			   : code == -EPERM || code == -EACCES ? "EPERM"
							       : "EFAILED";

	napi_throw_error(env, name, message);
	return NULL;
}

/* With the errno's own name as the error's code, as Node's errors have it, and fl_error()'s words. */
napi_value fail_by_name(napi_env env, int code);

/* Arguments of the call, exactly `count`; false and a pending TypeError otherwise. */
static inline int read_arguments(napi_env env, napi_callback_info info, napi_value *values, size_t count)
{
	size_t given = count;

	if (napi_get_cb_info(env, info, &given, values, NULL, NULL) == napi_ok && given == count)
		return 1;
	napi_throw_type_error(env, NULL, "wrong number of arguments");
	return 0;
}

static inline int read_u32(napi_env env, napi_value value, u32 *number)
{
	if (napi_get_value_uint32(env, value, number) == napi_ok)
		return 1;
	napi_throw_type_error(env, NULL, "a number is wanted here");
	return 0;
}

static inline int read_bool(napi_env env, napi_value value, bool *truth)
{
	if (napi_get_value_bool(env, value, truth) == napi_ok)
		return 1;
	napi_throw_type_error(env, NULL, "a boolean is wanted here");
	return 0;
}

/* Nanoseconds as a JS number: exact below 2^53, which is 104 days of uptime; ticks do not need the last bits after. */
static inline int read_time(napi_env env, napi_value value, u64 *time)
{
	double number;

	if (napi_get_value_double(env, value, &number) == napi_ok && number >= 0 && number < 9.2e18) {
		*time = (u64)number;
		return 1;
	}
	napi_throw_type_error(env, NULL, "nanoseconds are wanted here");
	return 0;
}

static inline int read_text(napi_env env, napi_value value, char *text, size_t room)
{
	size_t length;

	if (napi_get_value_string_utf8(env, value, text, room, &length) == napi_ok && length < room - 1)
		return 1;
	napi_throw_type_error(env, NULL, "a string is wanted here, and not so long a one");
	return 0;
}

#endif
