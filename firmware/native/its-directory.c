#define _POSIX_C_SOURCE 200809L

#include "its-directory.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "psa/internal_trusted_storage.h"

/* A record is this header, little-endian, then the data. What a torn disk leaves is caught by the magic and by the exact length. */
#define MAGIC "HAWSITS1"
#define MAGIC_SIZE 8
#define HEADER_SIZE (MAGIC_SIZE + 8)
#define RECORD_LIMIT 4096
#define NAME_SIZE 24

static char directory[PATH_MAX - NAME_SIZE - 8];

bool its_directory_set(const char *path)
{
    if (strlen(path) >= sizeof directory || (mkdir(path, 0700) != 0 && errno != EEXIST)) {
        return false;
    }
    memcpy(directory, path, strlen(path) + 1);
    return true;
}

static void record_path(psa_storage_uid_t uid, const char *suffix, char path[PATH_MAX])
{
    snprintf(path, PATH_MAX, "%s/%08x%08x%s", directory, (unsigned) (uid >> 32), (unsigned) (uid & 0xffffffffu), suffix);
}

static bool write_all(int file, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;
    while (size > 0) {
        ssize_t written = write(file, at, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return false;
        }
        at += written;
        size -= (size_t) written;
    }
    return true;
}

/* A record that ends too early is damaged; one that cannot be read now may be whole, and must not count as damaged. */
static psa_status_t read_exactly(int file, void *bytes, size_t size)
{
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t count = read(file, at, size);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count <= 0) {
            return count == 0 ? PSA_ERROR_DATA_CORRUPT : PSA_ERROR_STORAGE_FAILURE;
        }
        at += count;
        size -= (size_t) count;
    }
    return PSA_SUCCESS;
}

/* A rename or removal is durable only when the directory itself is on disk. */
static psa_status_t sync_directory(void)
{
    int file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file < 0) {
        return PSA_ERROR_STORAGE_FAILURE;
    }
    bool synced = fsync(file) == 0;
    return close(file) == 0 && synced ? PSA_SUCCESS : PSA_ERROR_STORAGE_FAILURE;
}

static void put_u32(uint8_t *out, uint32_t value)
{
    for (int i = 0; i < 4; i++) {
        out[i] = (uint8_t) (value >> (8 * i));
    }
}

static uint32_t get_u32(const uint8_t *bytes)
{
    return (uint32_t) bytes[0] | (uint32_t) bytes[1] << 8 | (uint32_t) bytes[2] << 16 | (uint32_t) bytes[3] << 24;
}

/* Opens a record and reads its header; the file is left at the data. */
static psa_status_t open_record(psa_storage_uid_t uid, struct psa_storage_info_t *info, int *file)
{
    char path[PATH_MAX];
    uint8_t header[HEADER_SIZE];
    struct stat status;
    record_path(uid, "", path);
    *file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*file < 0) {
        return errno == ENOENT ? PSA_ERROR_DOES_NOT_EXIST : PSA_ERROR_STORAGE_FAILURE;
    }
    psa_status_t result = fstat(*file, &status) == 0 ? read_exactly(*file, header, sizeof header) : PSA_ERROR_STORAGE_FAILURE;
    if (result == PSA_SUCCESS) {
        info->size = get_u32(header + MAGIC_SIZE);
        info->flags = get_u32(header + MAGIC_SIZE + 4);
        if (memcmp(header, MAGIC, MAGIC_SIZE) == 0 && info->size <= RECORD_LIMIT && status.st_size == (off_t) (HEADER_SIZE + info->size)) {
            return PSA_SUCCESS;
        }
        result = PSA_ERROR_DATA_CORRUPT;
    }
    close(*file);
    return result;
}

psa_status_t psa_its_set(psa_storage_uid_t uid, uint32_t data_length, const void *p_data, psa_storage_create_flags_t create_flags)
{
    char path[PATH_MAX], beside[PATH_MAX];
    uint8_t header[HEADER_SIZE];
    struct psa_storage_info_t old;
    if (directory[0] == '\0' || data_length > RECORD_LIMIT) {
        return directory[0] == '\0' ? PSA_ERROR_STORAGE_FAILURE : PSA_ERROR_INSUFFICIENT_STORAGE;
    }
    if (psa_its_get_info(uid, &old) == PSA_SUCCESS && (old.flags & PSA_STORAGE_FLAG_WRITE_ONCE) != 0) {
        return PSA_ERROR_NOT_PERMITTED;
    }
    record_path(uid, "", path);
    record_path(uid, ".new", beside);
    memcpy(header, MAGIC, MAGIC_SIZE);
    put_u32(header + MAGIC_SIZE, data_length);
    put_u32(header + MAGIC_SIZE + 4, create_flags);

    int file = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) {
        return PSA_ERROR_STORAGE_FAILURE;
    }
    bool written = write_all(file, header, sizeof header) && write_all(file, p_data, data_length) && fsync(file) == 0;
    bool full = !written && (errno == ENOSPC || errno == EDQUOT);
    if (close(file) != 0 || !written || rename(beside, path) != 0) {
        unlink(beside);
        return full ? PSA_ERROR_INSUFFICIENT_STORAGE : PSA_ERROR_STORAGE_FAILURE;
    }
    return sync_directory();
}

psa_status_t psa_its_get(psa_storage_uid_t uid, uint32_t data_offset, uint32_t data_length, void *p_data, size_t *p_data_length)
{
    struct psa_storage_info_t info;
    int file;
    psa_status_t status = open_record(uid, &info, &file);
    if (status != PSA_SUCCESS) {
        return status;
    }
    if (data_offset > info.size) {
        status = PSA_ERROR_INVALID_ARGUMENT;
    } else {
        uint32_t size = info.size - data_offset < data_length ? info.size - data_offset : data_length;
        *p_data_length = size;
        bool found = lseek(file, (off_t) (HEADER_SIZE + data_offset), SEEK_SET) >= 0;
        status = found ? read_exactly(file, p_data, size) : PSA_ERROR_STORAGE_FAILURE;
    }
    close(file);
    return status;
}

psa_status_t psa_its_get_info(psa_storage_uid_t uid, struct psa_storage_info_t *p_info)
{
    int file;
    psa_status_t status = open_record(uid, p_info, &file);
    if (status == PSA_SUCCESS) {
        close(file);
    }
    return status;
}

psa_status_t psa_its_remove(psa_storage_uid_t uid)
{
    char path[PATH_MAX];
    struct psa_storage_info_t info;
    psa_status_t status = psa_its_get_info(uid, &info);
    if (status == PSA_SUCCESS && (info.flags & PSA_STORAGE_FLAG_WRITE_ONCE) != 0) {
        return PSA_ERROR_NOT_PERMITTED;
    }
    if (status == PSA_ERROR_DOES_NOT_EXIST) {
        return status;
    }
    record_path(uid, "", path);
    return unlink(path) == 0 ? sync_directory() : PSA_ERROR_STORAGE_FAILURE;
}
