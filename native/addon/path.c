/*
 * Probes through the path at the boundary (engine/path.h). A handle is an external with a type tag, closed by pathClose or
 * by the collector. A path uses a plane's region: whichever of the two goes first, the other forgets it.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <net/if.h>
#include <unistd.h>

#include "addon.h"

static const napi_type_tag path_tag = { 0x6661697266c6c61eull, 0x2d5c90e1b7a8f364ull };

struct path_handle {
	struct fl_path *path; /* NULL: closed */
	struct plane *plane;  /* whose region it uses, or NULL */
};

void forget_path(struct plane *plane)
{
	if (!plane->path)
		return;
	fl_path_use(plane->path->path, NULL);
	plane->path->plane = NULL;
	plane->path = NULL;
}

struct fl_path *path_of(const struct plane *plane)
{
	return plane->path ? plane->path->path : NULL;
}

static void close_handle(struct path_handle *handle)
{
	if (!handle->path)
		return;
	if (handle->plane)
		handle->plane->path = NULL;
	handle->plane = NULL;
	fl_path_close(handle->path);
	handle->path = NULL;
}

static void finalize_handle(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	close_handle(data);
	free(data);
}

static struct path_handle *read_handle(napi_env env, napi_value value)
{
	struct path_handle *handle = NULL;
	bool is_handle = false;
	napi_valuetype type;

	if (napi_typeof(env, value, &type) == napi_ok && type == napi_external &&
	    napi_check_object_type_tag(env, value, &path_tag, &is_handle) == napi_ok && is_handle &&
	    napi_get_value_external(env, value, (void **)&handle) == napi_ok && handle->path)
		return handle;
	napi_throw_type_error(env, NULL, "an open path is wanted here");
	return NULL;
}

napi_value addon_path_open(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], value;
	struct path_handle *handle;
	char device[IFNAMSIZ + 1];
	u32 mark;
	int code;

	if (!read_arguments(env, info, arguments, 2) || !read_text(env, arguments[0], device, sizeof(device)) ||
	    !read_u32(env, arguments[1], &mark))
		return NULL;
	handle = calloc(1, sizeof(*handle));
	if (!handle)
		return fail_by_name(env, fl_fail(-ENOMEM, "no memory for checks through the path"));
	code = fl_path_open(&handle->path, device, mark);
	if (code) {
		free(handle);
		return fail_by_name(env, code);
	}
	if (napi_create_external(env, handle, finalize_handle, NULL, &value) != napi_ok) {
		close_handle(handle);
		free(handle);
		return NULL;
	}
	napi_type_tag_object(env, value, &path_tag);
	return value;
}

napi_value addon_path_use(napi_env env, napi_callback_info info)
{
	struct path_handle *handle;
	napi_value arguments[2];
	struct plane *plane;

	if (!read_arguments(env, info, arguments, 2) || !(handle = read_handle(env, arguments[0])) ||
	    !(plane = read_writable(env, arguments[1])))
		return NULL;
	if (handle->plane)
		forget_path(handle->plane);
	forget_path(plane);
	handle->plane = plane;
	plane->path = handle;
	fl_path_use(handle->path, &plane->region);
	return NULL;
}

/* An address of 4 or 16 octets. */
static bool read_address(napi_env env, napi_value value, struct fl_addr *addr, bool *is_v6)
{
	napi_typedarray_type type;
	size_t length;
	void *octets;

	if (napi_get_typedarray_info(env, value, &type, &length, &octets, NULL, NULL) == napi_ok &&
	    type == napi_uint8_array && (length == 4 || length == 16)) {
		memset(addr, 0, sizeof(*addr));
		memcpy(addr->word, octets, length);
		*is_v6 = length == 16;
		return true;
	}
	napi_throw_type_error(env, NULL, "an address of 4 or 16 octets is wanted here");
	return false;
}

napi_value addon_path_socket(napi_env env, napi_callback_info info)
{
	struct fl_path_question question = { 0 };
	napi_value arguments[8], pair, number;
	struct path_handle *handle;
	u32 protocol, is_half_open, port, pin;
	int fd;

	if (!read_arguments(env, info, arguments, 8) || !(handle = read_handle(env, arguments[0])) ||
	    !read_u32(env, arguments[1], &protocol) ||
	    !read_address(env, arguments[2], &question.vip, &question.is_v6) || !read_u32(env, arguments[3], &port) ||
	    !read_address(env, arguments[4], &question.server, &question.is_server_v6) ||
	    !read_u32(env, arguments[5], &question.server_slot) ||
	    !read_u32(env, arguments[6], &question.server_generation) || !read_u32(env, arguments[7], &is_half_open))
		return NULL;
	if ((protocol != FL_PROTOCOL_TCP && protocol != FL_PROTOCOL_UDP) || !port || port > 65535) {
		napi_throw_range_error(env, NULL, "a protocol or port is out of range");
		return NULL;
	}
	question.protocol = (u8)protocol;
	question.is_half_open = is_half_open != 0;
	question.port = FL_BE16(port);
	fd = fl_path_socket(handle->path, &question, &pin);
	if (fd < 0)
		return fail_by_name(env, fd);
	if (napi_create_array_with_length(env, 2, &pair) != napi_ok) {
		close(fd);
		fl_path_end(handle->path, pin);
		return NULL;
	}
	napi_create_int32(env, fd, &number);
	napi_set_element(env, pair, 0, number);
	napi_create_uint32(env, pin, &number);
	napi_set_element(env, pair, 1, number);
	return pair;
}

napi_value addon_path_end(napi_env env, napi_callback_info info)
{
	struct path_handle *handle;
	napi_value arguments[2], reason;
	u32 pin;

	if (!read_arguments(env, info, arguments, 2) || !(handle = read_handle(env, arguments[0])) ||
	    !read_u32(env, arguments[1], &pin))
		return NULL;
	return napi_create_uint32(env, fl_path_end(handle->path, pin), &reason) == napi_ok ? reason : NULL;
}

napi_value addon_path_close(napi_env env, napi_callback_info info)
{
	struct path_handle *handle;
	napi_value arguments[1];

	if (read_arguments(env, info, arguments, 1) && (handle = read_handle(env, arguments[0])))
		close_handle(handle);
	return NULL;
}

napi_value addon_path_remove(napi_env env, napi_callback_info info)
{
	napi_value arguments[1], was_there;
	u32 mark;

	if (!read_arguments(env, info, arguments, 1) || !read_u32(env, arguments[0], &mark))
		return NULL;
	return napi_get_boolean(env, fl_path_unroute(mark), &was_there) == napi_ok ? was_there : NULL;
}
