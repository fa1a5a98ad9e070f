/* The running image on trial: ESP-IDF's rollback (CONFIG_BOOTLOADER_APP_ROLLBACK_ENABLE). */
#include "xsmc.h"

#include "esp_ota_ops.h"

/* isOnTrial(): boolean */
void xs_image_on_trial(xsMachine *the)
{
    const esp_partition_t *running = esp_ota_get_running_partition();
    esp_ota_img_states_t state;

    xsmcSetBoolean(xsResult,
                   running != NULL && esp_ota_get_state_partition(running, &state) == ESP_OK && state == ESP_OTA_IMG_PENDING_VERIFY);
}

/* keep(): boolean */
void xs_image_keep(xsMachine *the)
{
    xsmcSetBoolean(xsResult, esp_ota_mark_app_valid_cancel_rollback() == ESP_OK);
}

/* giveUp(): void; restarts, and returns only where no image before is there */
void xs_image_give_up(xsMachine *the)
{
    (void)the;
    esp_ota_mark_app_invalid_rollback_and_reboot();
}
