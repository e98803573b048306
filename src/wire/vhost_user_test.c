/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user on the wire: each decoder at the edges of what it accepts. Payloads are put at
 * odd addresses in buffers of their exact size, so that sanitizers see a read too many.
 */

#include "wire/vhost_user.h"

#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A copy of exactly size bytes, misaligned by one. */
static void *odd_copy(const void *bytes, size_t size)
{
    char *copy = malloc(size + 1);

    assert_non_null(copy);
    memcpy(copy + 1, bytes, size);
    return copy + 1;
}

static void odd_free(void *copy)
{
    free((char *)copy - 1);
}

static void test_table(void **state)
{
    assert_null(vhost_user_message(0));
    assert_null(vhost_user_message(VHOST_USER_REQUESTS));
    assert_null(vhost_user_message(UINT32_MAX));
    assert_string_equal(vhost_user_message_name(UINT32_MAX), "unknown message");
    for (uint32_t request = 1; request < VHOST_USER_REQUESTS; request++) {
        const struct vhost_user_message *message = vhost_user_message(request);

        assert_non_null(message);
        assert_true(message->fds_min <= message->fds_max);
        assert_true(message->fds_max <= VHOST_USER_FDS_MAX);
        assert_true(message->size_min <= message->size_max);
        assert_true(message->size_max <= VHOST_USER_PAYLOAD_MAX);
        if (message->spoken)
            continue;
        assert_int_equal(message->size_max, 0);
        assert_false(message->replies);
    }
    assert_string_equal(vhost_user_message_name(VHOST_USER_SET_LOG_BASE), "SET_LOG_BASE");
    assert_true(vhost_user_message(VHOST_USER_GET_VRING_BASE)->replies);
    assert_false(vhost_user_message(VHOST_USER_SET_VRING_BASE)->replies);
    assert_int_equal(vhost_user_message(VHOST_USER_ADD_MEM_REG)->fds_min, 1);
}

static void test_sizes(void **state)
{
    const struct vhost_user_message *num = vhost_user_message(VHOST_USER_SET_VRING_NUM);
    const struct vhost_user_message *config = vhost_user_message(VHOST_USER_GET_CONFIG);

    assert_int_equal(vhost_user_message_check(num, 8), 0);
    assert_int_equal(vhost_user_message_check(num, 7), -EMSGSIZE);
    assert_int_equal(vhost_user_message_check(num, 9), -EMSGSIZE);
    assert_int_equal(vhost_user_message_check(config, 11), -EMSGSIZE);
    assert_int_equal(vhost_user_message_check(config, 12), 0);
    assert_int_equal(vhost_user_message_check(config, 12 + 256), 0);
    assert_int_equal(vhost_user_message_check(config, 12 + 257), -EMSGSIZE);
}

static int check_header(uint32_t flags, uint32_t size, bool is_reply)
{
    const struct vhost_user_header header = {.request = 1, .flags = flags, .size = size};

    return vhost_user_header_check(&header, is_reply);
}

static void test_header(void **state)
{
    assert_int_equal(check_header(1, 0, false), 0);
    assert_int_equal(check_header(1 | VHOST_USER_FLAG_NEED_REPLY, 0, false), 0);
    assert_int_equal(check_header(1 | VHOST_USER_FLAG_REPLY, 8, true), 0);
    assert_int_equal(check_header(1 | VHOST_USER_FLAG_REPLY, 8, false), -EPROTO);
    assert_int_equal(check_header(1, 8, true), -EPROTO);
    assert_int_equal(check_header(0, 0, false), -EPROTO);
    assert_int_equal(check_header(2, 0, false), -EPROTO);
    assert_int_equal(check_header(3, 0, false), -EPROTO);
    assert_int_equal(check_header(1 | 0x10, 0, false), -EPROTO);
    assert_int_equal(check_header(1 | 0x80000000, 0, false), -EPROTO);
    assert_int_equal(check_header(1, VHOST_USER_PAYLOAD_MAX, false), 0);
    assert_int_equal(check_header(1, VHOST_USER_PAYLOAD_MAX + 1, false), -EMSGSIZE);
    assert_int_equal(check_header(1, UINT32_MAX, false), -EMSGSIZE);
}

static void test_state(void **state)
{
    struct vhost_user_state in = {.index = 3, .num = 0xdeadbeef}, out = {.index = 77};
    void *payload = odd_copy(&in, sizeof(in));

    assert_int_equal(vhost_user_decode_state(payload, 3, &out), -ERANGE);
    assert_int_equal(out.index, 77);
    assert_int_equal(vhost_user_decode_state(payload, 4, &out), 0);
    assert_int_equal(out.index, 3);
    assert_int_equal(out.num, 0xdeadbeef);
    odd_free(payload);
}

static void test_addr(void **state)
{
    struct vhost_user_addr in = {.index = 1, .flags = VHOST_USER_VRING_F_LOG, .used = 5}, out;

    assert_int_equal(vhost_user_decode_addr(&in, 2, &out), 0);
    assert_int_equal(out.used, 5);
    assert_int_equal(vhost_user_decode_addr(&in, 1, &out), -ERANGE);
    in.flags = 2;
    assert_int_equal(vhost_user_decode_addr(&in, 2, &out), -EINVAL);
}

static int decode_ring_fd(uint64_t value, unsigned queues, struct vhost_user_ring_fd *ret)
{
    void *payload = odd_copy(&value, sizeof(value));
    int result = vhost_user_decode_ring_fd(payload, queues, ret);

    odd_free(payload);
    return result;
}

static void test_ring_fd(void **state)
{
    struct vhost_user_ring_fd out;

    assert_int_equal(decode_ring_fd(0xff, 256, &out), 0);
    assert_int_equal(out.index, 255);
    assert_true(out.present);
    assert_int_equal(decode_ring_fd(0x107, 8, &out), 0);
    assert_int_equal(out.index, 7);
    assert_false(out.present);
    assert_int_equal(decode_ring_fd(8, 8, &out), -ERANGE);
    assert_int_equal(decode_ring_fd(0x200, 8, &out), -EINVAL);
    assert_int_equal(decode_ring_fd(1ULL << 63, 8, &out), -EINVAL);
}

static int decode_table(struct vhost_user_table *in, size_t size, struct vhost_user_table *ret)
{
    void *payload = odd_copy(in, size);
    int result = vhost_user_decode_table(payload, size, ret);

    odd_free(payload);
    return result;
}

static void test_mem_table(void **state)
{
    struct vhost_user_table in = {.count = 8}, out;
    const size_t one = sizeof(in.regions[0]), head = offsetof(struct vhost_user_table, regions);

    for (unsigned i = 0; i < 8; i++)
        in.regions[i] = (struct vhost_user_region){i << 20, 1 << 20, i << 20, i << 20};
    assert_int_equal(decode_table(&in, sizeof(in), &out), 0);
    assert_memory_equal(&in, &out, sizeof(in));
    assert_int_equal(decode_table(&in, sizeof(in) - one, &out), -EINVAL);
    assert_int_equal(decode_table(&in, sizeof(in) - 1, &out), -EINVAL);
    in.count = 9;
    assert_int_equal(decode_table(&in, sizeof(in), &out), -EINVAL);
    in.count = UINT32_MAX;
    assert_int_equal(decode_table(&in, sizeof(in), &out), -EINVAL);
    in.count = 0;
    assert_int_equal(decode_table(&in, head, &out), 0);
    assert_int_equal(decode_table(&in, head + one, &out), -EINVAL);
    in.count = 2;
    in.regions[1].size = 0;
    assert_int_equal(decode_table(&in, head + 2 * one, &out), -EINVAL);
}

static int decode_slot(uint64_t guest, uint64_t size, uint64_t user, uint64_t offset)
{
    struct vhost_user_slot in = {.region = {guest, size, user, offset}}, out;
    void *payload = odd_copy(&in, sizeof(in));
    int result = vhost_user_decode_slot(payload, &out);

    odd_free(payload);
    return result;
}

static void test_slot(void **state)
{
    assert_int_equal(decode_slot(0, 1, 0, 0), 0);
    assert_int_equal(decode_slot(0, UINT64_MAX, 0, 0), 0);
    assert_int_equal(decode_slot(0, 0, 0, 0), -EINVAL);
    assert_int_equal(decode_slot(UINT64_MAX - 0xfff, 0x1000, 0, 0), -EINVAL);
    assert_int_equal(decode_slot(1, UINT64_MAX, 0, 0), -EINVAL);
    assert_int_equal(decode_slot(0, 0x1000, UINT64_MAX - 0xfff, 0), -EINVAL);
    assert_int_equal(decode_slot(0, 0x1000, 0, UINT64_MAX - 0xfff), -EINVAL);
}

static int decode_config(uint32_t offset, uint32_t len, size_t size, bool with_bytes)
{
    struct vhost_user_config in = {.offset = offset, .size = len, .bytes = {1, 2, 3}}, out;
    void *payload = odd_copy(&in, size);
    int result = vhost_user_decode_config(payload, size, with_bytes, &out);

    odd_free(payload);
    if (!result)
        assert_int_equal(out.bytes[0], with_bytes ? 1 : 0);
    return result;
}

static void test_config(void **state)
{
    assert_int_equal(decode_config(0, 1, 13, true), 0);
    assert_int_equal(decode_config(0, 2, 13, true), -EINVAL);
    assert_int_equal(decode_config(0, 2, 12, false), 0);
    assert_int_equal(decode_config(0, 2, 14, false), 0);
    assert_int_equal(decode_config(0, 0, 12, false), -EINVAL);
    assert_int_equal(decode_config(0, 256, 12 + 256, true), 0);
    assert_int_equal(decode_config(1, 256, 12 + 256, true), -EINVAL);
    assert_int_equal(decode_config(255, 1, 13, false), 0);
    assert_int_equal(decode_config(256, 1, 13, false), -EINVAL);
    assert_int_equal(decode_config(UINT32_MAX, 1, 13, false), -EINVAL);
    assert_int_equal(decode_config(1, UINT32_MAX, 13, true), -EINVAL);
}

static void test_config_flags(void **state)
{
    struct vhost_user_config in = {.size = 1, .flags = VHOST_USER_CONFIG_MIGRATION}, out;

    assert_int_equal(vhost_user_decode_config(&in, 13, true, &out), 0);
    in.flags = 2;
    assert_int_equal(vhost_user_decode_config(&in, 13, true, &out), -EINVAL);
}

static void test_packed_base(void **state)
{
    static const uint32_t values[] = {0,          0x80008000, 0x00008000,
                                      0x80000000, 0x12345678, 0xffffffff};

    for (unsigned i = 0; i < array_size(values); i++) {
        struct vhost_user_packed_base base = vhost_user_decode_packed_base(values[i]);

        assert_int_equal(vhost_user_encode_packed_base(&base), values[i]);
    }
    assert_int_equal(vhost_user_decode_packed_base(0x12345678).avail_idx, 0x5678);
    assert_int_equal(vhost_user_decode_packed_base(0x12345678).used_idx, 0x1234);
    assert_true(vhost_user_decode_packed_base(0x80000000).used_wrap);
    assert_false(vhost_user_decode_packed_base(0x80000000).avail_wrap);
}

static void test_encode(void **state)
{
    uint64_t value = 0x1122334455667788;
    unsigned char out[20];
    static const unsigned char expected[20] = {
        1, 0, 0, 0, 5, 0, 0, 0, 8, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,
    };

    assert_int_equal(vhost_user_encode(out, 1, VHOST_USER_FLAG_REPLY, &value, 8), 20);
    assert_memory_equal(out, expected, sizeof(out));
    assert_int_equal(vhost_user_encode(out, 2, 0, NULL, 0), 12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),       cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_header),      cmocka_unit_test(test_state),
        cmocka_unit_test(test_addr),        cmocka_unit_test(test_ring_fd),
        cmocka_unit_test(test_mem_table),   cmocka_unit_test(test_slot),
        cmocka_unit_test(test_config),      cmocka_unit_test(test_config_flags),
        cmocka_unit_test(test_packed_base), cmocka_unit_test(test_encode),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
