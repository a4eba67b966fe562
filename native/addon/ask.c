/* Questions go in and answers come out packed, as struct fl_asked and fl_asked_answer: see src/plane/ask.ts. */
#include <stdlib.h>
#include <string.h>

#include "../engine/ask.h"
#include "addon.h"

#define ANSWERS_MAX 1024

_Static_assert(sizeof(struct fl_asked) == 20 && sizeof(struct fl_asked_answer) == 12, "src/plane/ask.ts counts on it");

napi_value addon_ask(napi_env env, napi_callback_info info)
{
	static _Thread_local struct fl_asked_answer answers[ANSWERS_MAX];
	napi_value arguments[3], buffer, array;
	size_t length;
	napi_typedarray_type type;
	struct fl_asked *asked;
	u32 ifindex, wait_ms;
	void *octets;
	int count;

	if (!read_arguments(env, info, arguments, 3) || !read_u32(env, arguments[0], &ifindex) ||
	    !read_u32(env, arguments[2], &wait_ms))
		return NULL;
	if (napi_get_typedarray_info(env, arguments[1], &type, &length, &octets, NULL, NULL) != napi_ok ||
	    type != napi_uint8_array || length % sizeof(*asked)) {
		napi_throw_type_error(env, NULL, "questions of 20 octets are wanted here");
		return NULL;
	}
	asked = malloc(length ? length : 1); /* the view may lie at an odd address */
	if (!asked)
		return fail(env, -ENOMEM, "no memory for questions");
	if (length)
		memcpy(asked, octets, length);
	count = fl_ask(ifindex, asked, length / sizeof(*asked), wait_ms, answers, ANSWERS_MAX);
	free(asked);
	if (count < 0)
		return fail(env, count, fl_error());
	if (napi_create_arraybuffer(env, count * sizeof(answers[0]), &octets, &buffer) != napi_ok)
		return NULL;
	if (count)
		memcpy(octets, answers, count * sizeof(answers[0]));
	return napi_create_typedarray(env, napi_uint8_array, count * sizeof(answers[0]), buffer, 0, &array) == napi_ok
		       ? array
		       : NULL;
}
