/* What the control plane asks of the host, and tells it, without a plane. */
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <bpf/libbpf.h>

#include "addon.h"

/* driver(interface) -> its name, or "" */
napi_value addon_driver(napi_env env, napi_callback_info info)
{
	char interface[INTERFACE_OCTETS], driver[INTERFACE_OCTETS];
	napi_value arguments[1], value;

	if (!read_arguments(env, info, arguments, 1) || !read_text(env, arguments[0], interface, sizeof(interface)))
		return NULL;
	fl_driver_of(interface, driver, sizeof(driver));
	return napi_create_string_utf8(env, driver, NAPI_AUTO_LENGTH, &value) == napi_ok ? value : NULL;
}

/* processors() -> how many the kernel may ever run on, of which each has counters of its own */
napi_value addon_processors(napi_env env, napi_callback_info info)
{
	napi_value value;
	int count = libbpf_num_possible_cpus();

	(void)info;
	return napi_create_uint32(env, count > 0 ? (u32)count : 1, &value) == napi_ok ? value : NULL;
}

/* bpffs(path, mayMount): throws in words when it is none, and none can be mounted there */
napi_value addon_bpffs(napi_env env, napi_callback_info info)
{
	char path[PATH_OCTETS];
	napi_value arguments[2];
	bool may_mount;
	int code;

	if (!read_arguments(env, info, arguments, 2) || !read_text(env, arguments[0], path, sizeof(path)) ||
	    !read_bool(env, arguments[1], &may_mount))
		return NULL;
	code = fl_bpffs(path, may_mount);
	return code ? fail(env, code, fl_error()) : NULL;
}

/* remove(directory): a region of maps with its links, whose programs then end */
napi_value addon_remove(napi_env env, napi_callback_info info)
{
	char path[PATH_OCTETS];
	napi_value arguments[1];
	int code;

	if (!read_arguments(env, info, arguments, 1) || !read_text(env, arguments[0], path, sizeof(path)))
		return NULL;
	code = fl_maps_remove(path);
	return code ? fail(env, code, fl_error()) : NULL;
}

/* inspect(type, family) -> ArrayBuffer of netlink messages */
napi_value addon_inspect(napi_env env, napi_callback_info info)
{
	napi_value arguments[2], buffer;
	unsigned char *messages;
	u32 type, family;
	size_t size;
	void *copy;
	int code;

	if (!read_arguments(env, info, arguments, 2) || !read_u32(env, arguments[0], &type) ||
	    !read_u32(env, arguments[1], &family))
		return NULL;
	code = fl_netlink_dump(type, family, &messages, &size);
	if (code)
		return fail(env, code, fl_error());
	if (napi_create_arraybuffer(env, size, &copy, &buffer) == napi_ok && size)
		memcpy(copy, messages, size);
	free(messages);
	return buffer;
}

/* notify(state): tells a service manager, if there is one (sd_notify(3): a datagram to $NOTIFY_SOCKET) */
napi_value addon_notify(napi_env env, napi_callback_info info)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *path = getenv("NOTIFY_SOCKET");
	napi_value arguments[1];
	char state[256];
	size_t length;
	int socket_fd;

	if (!read_arguments(env, info, arguments, 1) || !read_text(env, arguments[0], state, sizeof(state)))
		return NULL;
	if (!path || (path[0] != '/' && path[0] != '@'))
		return NULL;
	length = strlen(path);
	if (length >= sizeof(address.sun_path))
		return NULL;
	memcpy(address.sun_path, path, length);
	if (path[0] == '@')
		address.sun_path[0] = 0;
	socket_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (socket_fd < 0)
		return NULL;
	if (sendto(socket_fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address,
		   offsetof(struct sockaddr_un, sun_path) + length) < 0)
		fail(env, -errno, "the service manager's socket takes no message");
	close(socket_fd);
	return NULL;
}
